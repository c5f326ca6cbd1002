package house_test

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The binary depends on nothing of the host, and builds of the same source give the same bytes, in
// any directory.
func TestBinaryIsStaticAndReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds the binary twice")
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make here")
	}
	first := build(t, filepath.Join(t.TempDir(), "source"))
	second := build(t, filepath.Join(t.TempDir(), "another", "place"))
	if !bytes.Equal(first, second) {
		t.Errorf("two builds differ: %d and %d bytes", len(first), len(second))
	}
	program, err := elf.NewFile(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is not static: it has %v", p.Type)
		}
	}
	for _, name := range []string{".debug_info", ".symtab"} {
		if program.Section(name) != nil {
			t.Errorf("the binary has %s, which nobody reads", name)
		}
	}
}

// build copies the source to dir and returns the binary that make builds there.
func build(t *testing.T, dir string) []byte {
	t.Helper()
	copySource(t, dir)
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join("build", "bin", "ocishim")
	cmd := exec.Command("make", "GO="+goCommand, binary)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, binary))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// copySource copies the repository without build results and hidden files.
func copySource(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(moduleRoot, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(moduleRoot, path)
		if err != nil {
			return err
		}
		switch {
		case rel == ".":
			return os.MkdirAll(dir, 0o755)
		case e.IsDir() && (rel == "build" || strings.HasPrefix(rel, ".")):
			return fs.SkipDir
		case e.IsDir():
			return os.Mkdir(filepath.Join(dir, rel), 0o755)
		case !e.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), data, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}
