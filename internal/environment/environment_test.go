package environment

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/request"
)

// write makes environment files in a directory, and returns places that find them.
func write(t *testing.T, files map[string]string) Places {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name+extension), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Places{Dirs: []string{dir}, Dir: dir, Home: dir, Env: []string{"USER=alice", "SCRATCH=/scratch/alice"}}
}

// load loads the environment "env", and reads its wishes as a launch does.
func load(t *testing.T, files map[string]string) (*Environment, request.Request, error) {
	t.Helper()
	p := write(t, files)
	e, err := Load("env", p)
	if err != nil {
		return nil, request.Request{}, err
	}
	annotations, err := e.ContainerAnnotations()
	if err != nil {
		t.Fatal(err)
	}
	r, err := request.Read(annotations, p.Env, true)
	return e, r, err
}

func TestEnvironment(t *testing.T) {
	e, r, err := load(t, map[string]string{
		"common": "mounts = ['/a:/data', '/b']\nhome = false\n[env]\nA = 'common'\nB = 'b'\n[annotations]\ncom.hooks.cxi.enabled = 'true'",
		"torch":  "image = 'nvcr.io#nvidia/pytorch:22.12-py3'\nbase_environment = 'common'\nworkdir = '/work'",
		"env": `
base_environment = ["torch"]
mounts = ["${SCRATCH}:/data:ro", "tmpfs:/mem:size=1g"]
entrypoint = true
pull = "never"

[env]
A = ""
PATH = "${PATH}:/custom/bin"

[annotations.com.hooks.cxi]
enabled = "false"
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.Image.Value != "nvcr.io#nvidia/pytorch:22.12-py3" || filepath.Base(e.Image.By) != "torch.toml:1" || e.Pull.Value != "never" {
		t.Errorf("image %v, pull %v", e.Image, e.Pull)
	}
	if got := e.Annotations["com.hooks.cxi.enabled"].Value; got != "false" {
		t.Errorf("annotation %q", got)
	}
	var mounts []string
	for _, m := range r.Mounts {
		mounts = append(mounts, m.Source+":"+m.Destination+":"+strings.Join(m.Options, "+"))
	}
	if got := strings.Join(mounts, " "); got != "/b:/b: /scratch/alice:/data:ro :/mem:size=1g" {
		t.Errorf("mounts %s", got)
	}
	if r.ContainerWorkdir.Value != "/work" || r.Home.Value != "false" || r.Entrypoint.Value != "true" {
		t.Errorf("workdir %v, home %v, entrypoint %v", r.ContainerWorkdir, r.Home, r.Entrypoint)
	}
	for _, v := range r.Env {
		switch {
		case v.Name == "A" && !v.Unset, v.Name == "B" && v.Value != "b", v.Name == "PATH" && (v.Value != "${PATH}:/custom/bin" || !v.Expand):
			t.Errorf("variable %+v", v)
		}
	}
	if len(r.Env) != 3 {
		t.Errorf("variables %+v", r.Env)
	}
}

// What show prints is a file that says the same.
func TestShownAgain(t *testing.T) {
	first, r1, err := load(t, map[string]string{
		"base": "mounts = ['/a:/x', '/b:/y']\n[env]\nQ = '\"\\é$${x}'\n[annotations]\ncom.a.b = 'c$$'\n",
		"env":  "base_environment='base'\nimage='docker://a/b:1'\nmounts=['/c:/x']\nworkdir='/w'\nhome=true\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := first.TOML()
	for _, want := range []string{"\"/c:/x\", # ", "env.toml:3", "base.toml:1", "home = true", "\"com.a.b\" = \"c$$\""} {
		if !strings.Contains(shown, want) {
			t.Errorf("show lacks %s:\n%s", want, shown)
		}
	}
	second, r2, err := load(t, map[string]string{"env": shown})
	if err != nil {
		t.Fatalf("%v:\n%s", err, shown)
	}
	if len(r1.Mounts) != 2 || len(r2.Mounts) != 2 || r1.Env[0].Value != r2.Env[0].Value || second.Annotations["com.a.b"].Value != "c$" {
		t.Errorf("%+v\n%+v", r1, r2)
	}
}

func TestMistakes(t *testing.T) {
	image := "image = 'docker://a/b:1'\n"
	deep := map[string]string{"env": image + "base_environment = 'e1'"}
	for i := 1; i <= 11; i++ {
		deep["e"+strconv.Itoa(i)] = "base_environment = 'e" + strconv.Itoa(i+1) + "'"
	}
	for want, files := range map[string]map[string]string{
		"env.toml:1:1: imagee: unknown key; did you mean image?":     {"env": "imagee = 'x'"},
		"env.toml:2:10: mounts: expected an array of strings, not":   {"env": image + "mounts = '/a:/b'"},
		"env.toml:2:14: entrypoint: expected true or false, not":     {"env": image + "entrypoint = 'yes'"},
		"env.toml:3:5: env.A: expected a string, not the number 1":   {"env": image + "[env]\nA = 1"},
		"env.toml:2: workdir: \"work\" is not an absolute path":      {"env": image + "workdir = 'work'"},
		"unknown flag \"rq\": did you mean":                          {"env": image + "mounts = ['/a:/b:rq']"},
		"another mount of the list has the same destination":         {"env": image + "mounts = ['/a:/b', '/c:/b']"},
		"workdir: \"/${NOPE}\": ${NOPE}: there is no variable NOPE":  {"env": image + "workdir = '/${NOPE}'"},
		"env.toml:1:1: image: ${NOPE}: there is no variable":         {"env": "image = '${NOPE}'"},
		"it names no image: add a line such as":                      {"env": "workdir = '/'"},
		"no such environment in":                                     {"env": image + "base_environment = 'bass'"},
		"did you mean base?":                                         {"env": image + "base_environment = 'bass'", "base": ""},
		"env.toml -> ":                                               {"env": image + "base_environment = 'a'", "a": "base_environment = 'env'"},
		"more than 10 environments are based on each other":          deep,
		"image: a control character in it":                           {"env": "image = \"a\\nb\""},
		"line break or a NUL byte":                                   {"env": image + "mounts = [\"/a\\n:/b\"]"},
		"already set in line 1":                                      {"env": image + image},
		"env.toml:2:1: not UTF-8":                                    {"env": image + "\xff"},
		"\"A B\" is not the name of a variable":                      {"env": image + "[env]\n'A B' = 'x'"},
		"env.toml:2:21: base_environment[0]: expected a string, not": {"env": image + "base_environment = [1]"},
	} {
		_, _, err := load(t, files)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\n\twanted %s", err, want)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 2000) {
			t.Errorf("not one short line: %q", err)
		}
	}
}

func TestPlaces(t *testing.T) {
	p := PlacesOf([]string{"HOME=/home/a", "EDF_PATH=/e:rel:/f"}, "/job", []string{"/etc/ocishim/edf"})
	if got := strings.Join(p.Dirs, " "); got != "/e /f /etc/ocishim/edf" {
		t.Errorf("EDF_PATH: %s", got)
	}
	p = PlacesOf([]string{"HOME=/home/a", "EDF_PATH=/e", "OCISHIM_EDF_PATH=/o"}, "/job", nil)
	if got := strings.Join(p.Dirs, " "); got != "/o" {
		t.Errorf("OCISHIM_EDF_PATH: %s", got)
	}
	p = PlacesOf([]string{"HOME=/home/a"}, "/job", nil)
	if got := strings.Join(p.Dirs, " "); got != "/home/a/.edf" {
		t.Errorf("home: %s", got)
	}
	p = write(t, map[string]string{"torch": "", "jax": "", ".hidden": ""})
	if files := p.List(); len(files) != 2 || files[0].Name != "jax" {
		t.Errorf("list: %v", files)
	}
	if _, err := p.Find("tortch"); !errors.Is(err, ErrNotFound) || !strings.HasSuffix(err.Error(), "did you mean torch?") {
		t.Errorf("find: %v", err)
	}
	if _, err := Load("./torch.toml", p); !errors.Is(err, ErrNoImage) {
		t.Errorf("relative path: %v", err)
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"image = 'a/b:1'\nmounts = ['/a:/b:ro+x']\n[env]\nA = '${B:-c}'\n[annotations]\na.b = 'c'",
		"base_environment = ['x']\nentrypoint = true\n[annotations.com.hooks.ssh]\nenabled = 'true'",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "env.toml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		p := Places{Dirs: []string{dir}, Dir: dir, Env: []string{"A=b"}}
		e, err := LoadFile(path, p)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		// What was accepted can be shown, and means the same then.
		again := filepath.Join(dir, "again.toml")
		if err := os.WriteFile(again, []byte(e.TOML()), 0o600); err != nil {
			t.Fatal(err)
		}
		e2, err := LoadFile(again, Places{Dirs: p.Dirs, Dir: dir})
		if err != nil {
			t.Errorf("%v:\n%s", err, e.TOML())
			return
		}
		if len(e2.Lines()) != len(e.Lines()) {
			t.Errorf("%v\n%v", e.Lines(), e2.Lines())
		}
	})
}
