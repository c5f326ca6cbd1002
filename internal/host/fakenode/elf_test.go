package fakenode

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Files made here are read like real ones.
func TestELF(t *testing.T) {
	n := New(t)
	n.File("/lib.so", ELF{
		Soname: "libx.so.1", Needs: map[string][]string{"libc.so.6": {"GLIBC_2.4", "GLIBC_2.34"}, "libm.so.6": {"GLIBC_2.29"}},
		Defines: []string{"X_1", "X_2"}, Note: `{"Driver":[535]}`,
	}.String())
	lib, err := n.Tree().Library("/lib.so")
	if err != nil {
		t.Fatal(err)
	}
	if lib.Soname != "libx.so.1" || fmt.Sprint(lib.Needs) != "[{libc.so.6 [GLIBC_2.4 GLIBC_2.34]} {libm.so.6 [GLIBC_2.29]}]" || !slices.Equal(lib.Defines, []string{"X_1", "X_2"}) ||
		!slices.Equal(lib.Needed, []string{"libc.so.6", "libm.so.6"}) {
		t.Errorf("got %+v", lib)
	}
}

// The C compiler's libraries are read like ours, so tests with ours are valid for real
// ones.
func TestRealLibrary(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc here")
	}
	n := New(t)
	n.File("/x.c", "#include <stdio.h>\nint f(void) { return puts(\"x\"); }\n")
	n.File("/map", "X_1.5 { global: f; local: *; };\n")
	cmd := exec.Command(gcc, "-shared", "-fPIC", "-Wl,-soname,libx.so.7", "-Wl,--version-script,"+n.Path("/map"), "-o", filepath.Join(n.Root, "libx.so"), n.Path("/x.c"))
	cmd.Stderr = os.Stderr
	n.check(cmd.Run())
	lib, err := n.Tree().Library("/libx.so")
	n.check(err)
	if lib.Soname != "libx.so.7" || !slices.Contains(lib.Needed, "libc.so.6") || !slices.Contains(lib.Defines, "X_1.5") ||
		!strings.Contains(fmt.Sprint(lib.Needs), "{libc.so.6 [GLIBC_2.") {
		t.Errorf("got %+v", lib)
	}
}
