package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is compared: testdata and docs/config.md")

// Each file of testdata is a configuration directory, with the expected result.
func TestLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := loadArchive(t, archive)
			for i, f := range archive.Files {
				text, ok := got[f.Name]
				if ok && *update {
					archive.Files[i].Data = []byte(text)
				} else if ok && string(f.Data) != text {
					t.Errorf("%s:\n%s\nwant:\n%s", f.Name, text, f.Data)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// loadArchive loads the files of the archive as if they were in Dir.
func loadArchive(t *testing.T, archive *txtar.Archive) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range archive.Files {
		if f.Name != "want" && f.Name != "json" {
			write(t, filepath.Join(dir, strings.ReplaceAll(f.Name, `\n`, "\n")), string(f.Data))
		}
	}
	c, err := Load(Options{Path: dir, Owner: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	checkPrinted(t, c)
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	inDir := func(text string) string { return strings.ReplaceAll(text, dir, Dir) }
	return map[string]string{"want": inDir(c.TOML()), "json": inDir(string(data)) + "\n"}
}

// checkPrinted reads the printed configuration, which must be the same.
func checkPrinted(t *testing.T, c *Config) {
	t.Helper()
	again := Default()
	if err := again.merge("printed", []byte(c.TOML())); err != nil {
		t.Fatalf("%v in what was printed:\n%s", err, c.TOML())
	}
	again.Files, again.origins = c.Files, c.origins
	if !reflect.DeepEqual(again, c) {
		t.Fatalf("printed and read again it is %+v, it was %+v", again, c)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A single file replaces all others, and must exist.
func TestLoadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.conf")
	if _, err := Load(Options{Path: path, Owner: os.Getuid()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	write(t, path, "\nprofile = 'oci'\n")
	c, err := Load(Options{Path: path, Owner: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Origin{path, 2}); c.Profile != ProfileOCI || c.Origin("profile") != want || c.Origin("hpc.home") != (Origin{}) {
		t.Errorf("profile %s of %s, hpc.home of %s", c.Profile, c.Origin("profile"), c.Origin("hpc.home"))
	}
	if err := Check(path); err != nil {
		t.Error(err)
	}
	write(t, path, "profile = 1\n")
	if err := Check(path); !errors.Is(err, ErrInvalid) {
		t.Errorf("check: %v", err)
	}
}

// A site without configuration gets the defaults.
func TestLoadNothing(t *testing.T) {
	if _, err := os.Lstat(Dir); err == nil {
		t.Skip("this machine has " + Dir)
	}
	c, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("%+v, want %+v", c, Default())
	}
}

// Every field is a setting; otherwise a file could not set it.
func TestEveryFieldIsASetting(t *testing.T) {
	c, m := Default(), new(Mount)
	checkFields(t, reflect.ValueOf(c).Elem(), "", c.settings())
	checkFields(t, reflect.ValueOf(m).Elem(), "", m.settings())
	p := newMPI("name")
	checkFields(t, reflect.ValueOf(&p).Elem(), "", append(p.settings(), setting{key: "name", value: &p.Name, doc: "the table's own"}))
}

func checkFields(t *testing.T, v reflect.Value, prefix string, settings []setting) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("json")
		if name == "-" || !field.IsExported() {
			continue
		}
		if field.Type.Kind() == reflect.Struct {
			checkFields(t, v.Field(i), prefix+name+".", settings)
			continue
		}
		found := false
		for _, s := range settings {
			if s.key == prefix+name {
				found = s.value == v.Field(i).Addr().Interface() && s.doc != ""
			}
		}
		if !found {
			t.Errorf("%s is no setting of its own with a description", prefix+name)
		}
	}
}
