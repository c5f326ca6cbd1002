package host

import (
	"bytes"
	"debug/elf"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// This host's libraries are read as debug/elf reads them.
func TestLibraryAgainstDebugELF(t *testing.T) {
	dirs := []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib"}
	tree, err := Open("/", nil)
	try(t, err)
	defer tree.Close()
	files := []string{"/bin/sh", "/usr/bin/env"}
	for _, dir := range dirs {
		found, _ := filepath.Glob(dir + "/lib[a-d]*.so.[0-9]")
		files = append(files, found[:min(len(found), 20)]...)
	}
	compared := 0
	for _, path := range files {
		theirs, err := elf.Open(path)
		if err != nil || theirs.Class != elf.ELFCLASS64 {
			continue
		}
		ours, err := tree.Library(path)
		try(t, err)
		needed, _ := theirs.ImportedLibraries()
		runpath, _ := theirs.DynString(elf.DT_RUNPATH)
		soname, _ := theirs.DynString(elf.DT_SONAME)
		if !slices.Equal(ours.Needed, needed) || len(soname) > 0 && ours.Soname != soname[0] || len(runpath) != len(ours.RunPath) {
			t.Errorf("%s: got %+v, want %v %v %v", path, ours, soname, needed, runpath)
		}
		compareSymbols(t, tree, path, theirs)
		_ = theirs.Close()
		compared++
	}
	if compared < 2 {
		t.Skip("this machine's programs are static")
	}
	sh, err := tree.Library("/bin/sh")
	if err != nil || sh.Interp == "" || !sh.Dynamic {
		t.Errorf("/bin/sh is %+v, %v", sh, err)
	}
}

func compareSymbols(t *testing.T, tree *Tree, path string, theirs *elf.File) {
	t.Helper()
	symbols, err := theirs.DynamicSymbols()
	if err != nil {
		return
	}
	want, wantImports := map[string]bool{}, map[string]bool{}
	names := []string{"no_such_symbol"}
	for i, s := range symbols {
		if s.Name == "" || i%7 > 0 && len(symbols) > 100 { // sections have symbols without a name
			continue
		}
		names = append(names, s.Name)
	}
	for _, s := range symbols {
		if slices.Contains(names, s.Name) {
			into := want
			if s.Section == elf.SHN_UNDEF {
				into = wantImports
			}
			into[s.Name] = true
		}
	}
	got, err := tree.Symbols(path, names...)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s defines %d symbols of %d, %v", path, len(got), len(want), err)
	}
	if got, err = tree.Imports(path, names...); err != nil || !reflect.DeepEqual(got, wantImports) {
		t.Errorf("%s imports %d symbols of %d, %v", path, len(got), len(wantImports), err)
	}
}

// Whatever a file contains, reading it ends, and takes no more memory than it has
// bytes.
func FuzzLibrary(f *testing.F) {
	for _, path := range []string{"/bin/true", "/usr/lib/x86_64-linux-gnu/libm.so.6"} {
		if data, err := os.ReadFile(path); err == nil && len(data) < 1<<20 {
			f.Add(data)
		}
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		e, err := newELF(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		e.library()
		e.defined([]string{"main", "MPI_Init"})
		e.imported([]string{"dlopen"})
		e.contained([]string{"main", "MPI_Init"})
		e.release()
	})
}

// FindLibrary agrees with Resolve, Identity and Library, also on old kernels; for what
// is not a library, the error says what is wrong, and where.
func TestFindLibrary(t *testing.T) {
	defer func() { openat2 = unix.Openat2 }()
	for _, find := range []func(int, string, *unix.OpenHow) (int, error){
		unix.Openat2, func(int, string, *unix.OpenHow) (int, error) { return -1, unix.ENOSYS },
	} {
		openat2 = find
		data, err := os.ReadFile("/bin/true")
		try(t, err)
		tree := open(t, map[string]string{"lib/liba.so.1.2": string(data), "lib/liba.so.1@": "liba.so.1.2", "opt@": "/lib", "text": "text", "out@": "/../../../../../../../../bin/sh"})
		found, err := tree.FindLibrary("/opt/liba.so.1")
		try(t, err)
		id, err := tree.Identity("/lib/liba.so.1")
		try(t, err)
		plain, err := tree.PlainIdentity("/lib/liba.so.1.2")
		if found.Path != "/lib/liba.so.1.2" || found.Class != elf.ELFCLASS64 || found.Identity != id || plain != id || err != nil {
			t.Errorf("got %+v, %+v, %+v, %v", found, id, plain, err)
		}
		if found, err = tree.FindLibrary("/text"); err == nil || found.Path != "/text" {
			t.Errorf("text: %+v, %v", found, err)
		}
		try(t, unix.Mkfifo(tree.HostPath("/fifo"), 0o666))
		for _, path := range []string{"/fifo", "/lib", "/none", "/out"} {
			if found, err := tree.FindLibrary(path); err == nil || found.Path != "" {
				t.Errorf("%s: %+v, %v", path, found, err)
			}
		}
		if link, err := tree.PlainIdentity("/lib/liba.so.1"); err != nil || link == id {
			t.Errorf("a link is what it leads to: %+v, %v", link, err)
		}
	}
}

// The linker stores a name that is the end of another only once: it counts if a symbol
// refers to it.
func TestContains(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc here")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "x.c")
	text := "int PMPI_Init(void) { return 0; }\nint MPI_Init(void) __attribute__((alias(\"PMPI_Init\")));\nint PMPI_Send;\nint main(void) { return 0; }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-o", filepath.Join(dir, "program"), source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tree, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	has, err := tree.Contains("/program", "MPI_Init", "PMPI_Init", "PMPI_Send", "MPI_Send", "main", "none")
	if want := map[string]bool{"MPI_Init": true, "PMPI_Init": true, "PMPI_Send": true, "main": true}; err != nil || !maps.Equal(has, want) {
		t.Errorf("got %v, %v, want %v", has, err, want)
	}
}

// Flags for the loader, and constants of a program; symbols that a program imports are
// not its own.
func TestFlagsAndTexts(t *testing.T) {
	dir := t.TempDir()
	try(t, os.WriteFile(dir+"/source.c", []byte("int missing(void); const char *name = \"/opt/libx.so.1\"; int has(void) { return missing(); } int main(void) { return has(); }"), 0o600))
	link := []string{"-o", dir + "/program", dir + "/source.c", "-Wl,-z,nodefaultlib,--unresolved-symbols=ignore-all"}
	if out, err := exec.Command("gcc", link...).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("gcc: %v: %s", err, out)
		}
		t.Skipf("no compiler found: %v: %s", err, out)
	}
	tree, err := Open(dir, nil)
	try(t, err)
	defer tree.Close()
	lib, err := tree.Library("/program")
	if err != nil || !lib.NoDefaultLib {
		t.Errorf("got %+v, %v", lib, err)
	}
	if texts := tree.Texts("/program", ".so"); !slices.Contains(texts, "/opt/libx.so.1") {
		t.Errorf("its texts are %q", texts)
	}
	has, err := tree.Contains("/program", "has", "missing")
	if err != nil || !has["has"] || has["missing"] {
		t.Errorf("it contains %v, %v", has, err)
	}
	if lib, err := tree.Library("/source.c"); err == nil || lib.NoDefaultLib || len(tree.Texts("/source.c", ".so")) > 0 {
		t.Errorf("a text is %+v", lib)
	}
}
