package gpu_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/gpu"
)

// inMusl makes the bundle's root file system resemble Alpine's: a static busybox, the
// loader of Debian's musl, a program linked with it, and a library of its own.
func (m *machine) inMusl(t *testing.T) {
	t.Helper()
	compiler, err := exec.LookPath("musl-gcc")
	if err != nil {
		lacks(t, "no musl-gcc here: hack/deps test installs it")
	}
	if err := os.RemoveAll(m.image("/")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", "dev", "etc", "lib", "proc", "run", "sys", "tmp", "usr/bin", "usr/lib", "usr/local/bin"} {
		if err := os.MkdirAll(m.image(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	loaders, err := filepath.Glob("/lib/ld-musl-*.so.1")
	if err != nil || len(loaders) != 1 {
		t.Fatalf("loaders: %v, %v", loaders, err)
	}
	run(t, "cp", "-L", loaders[0], m.image("/lib/"))
	run(t, "cp", "-L", "/bin/busybox", m.image("/bin/sh"))
	compile(t, compiler, "opens.c", m.image("/usr/bin/opens"))
	compile(t, compiler, "driver.c", m.image("/usr/lib/libown.so.1"), "-shared", "-fPIC", "-DVALUE=7")
}

// An image whose programs use musl runs without the driver's libraries and programs,
// and the user is told why.
func TestMuslImage(t *testing.T) {
	asUsers(t, func(t *testing.T, user int) {
		m := newMachine(t, user)
		m.inMusl(t)
		if err := os.WriteFile(m.node.Path("/usr/bin/nvidia-smi"), []byte("#!/bin/sh\necho smi\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		r := m.request(t)
		result, err := gpu.Edits(r)
		if err != nil {
			t.Fatal(err)
		}
		const why = "the image's programs use musl; the GPU driver's libraries and programs are made for glibc and are left out"
		if got := strings.Join(result.Warnings, "\n"); got != why {
			t.Errorf("warnings %q", got)
		}
		devices := 0
		for _, e := range result.Edits {
			devices += len(e.Devices)
		}
		if devices != 4 {
			t.Errorf("%d devices, want the GPU's and the three that all share", devices)
		}
		expect(t, m.run(t, r, "/bin/sh", "-c", "opens libcuda.so.1 libown.so.1; type nvidia-smi; ls -A /usr/local/bin /etc"),
			"libcuda.so.1: Error loading shared library libcuda.so.1: No such file or directory",
			"libown.so.1: 7 from /usr/lib/libown.so.1", "nvidia-smi: not found", "/etc:", "", "/usr/local/bin:")
	})
}
