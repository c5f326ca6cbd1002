package gpu_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/gpu"
)

// images lists images of distributions' own packages, made by hack/images, with the
// greatest symbol version of their glibc: 2.19 added no new ones.
var images = map[string]string{"ubuntu-14.04": "2.18", "ubuntu-16.04": "2.23", "ubuntu-24.04": "2.39"}

// inImage makes the bundle's root file system a copy of such an image, with a program
// that is linked with the driver only.
func (m *machine) inImage(t *testing.T, name string) {
	t.Helper()
	root := filepath.Join("..", "build", "images", name)
	if _, err := os.Stat(root); err != nil {
		t.Skip("no build/images/" + name + " here: run hack/images, which needs a mirror of Ubuntu's archive")
	}
	stub := filepath.Join(t.TempDir(), "libcuda.so")
	compile(t, "gcc", "driver.c", stub, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE=0")
	if err := os.RemoveAll(m.image("/")); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", root, m.image("/"))
	compile(t, "gcc", "bare.c", m.image("/usr/bin/bare"), "-nostdlib", "-fno-stack-protector", "-no-pie", "-Wl,--dynamic-linker=/lib64/ld-linux-x86-64.so.2",
		"-DVALUE="+hostCUDA, stub)
}

// perl opens the library by each name and runs the program linked with it.
const perl = `require DynaLoader;
	for ("libcuda.so.1", "libcuda.so") { print DynaLoader::dl_load_file($_, 0) ? "loaded $_\n" : DynaLoader::dl_error() . "\n" }
	print system("/usr/bin/bare") ? "not linked\n" : "linked\n";`

// The loaders of glibc 2.19 to 2.39 find the driver, linked or opened by name: in the
// cache that we make from theirs, in either format, and without a cache.
func TestLoaderOfOtherImages(t *testing.T) {
	for name := range images {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, userOnly(t))
			m.inImage(t, name)
			for _, cache := range []string{"none", "compat", "new"} {
				if cache != "none" {
					m.ldconfig(t, cache)
				}
				t.Log("cache: ", cache)
				expect(t, m.run(t, m.request(t), "/usr/bin/perl", "-e", perl), "loaded libcuda.so.1", "loaded libcuda.so", "linked")
			}
		})
	}
}

// Without the edits the same programs find nothing.
func TestOtherImageWithoutDriver(t *testing.T) {
	m := newMachine(t, os.Getuid())
	m.inImage(t, "ubuntu-16.04")
	r := m.request(t)
	r.Env = r.Env[2:]
	if out := m.run(t, r, "/usr/bin/perl", "-e", perl); strings.Contains(out, "loaded") || !strings.Contains(out, "not linked") {
		t.Errorf("got %s", out)
	}
}

// A driver that is too new for an image is refused before anything starts; the error
// names the library, what it needs, and what the image has. Newer images accept it.
func TestDriverTooNewForImage(t *testing.T) {
	for _, name := range []string{"ubuntu-16.04", "ubuntu-24.04"} {
		t.Run(name, func(t *testing.T) {
			glibc := images[name]
			m := newMachine(t, os.Getuid())
			library := m.node.Path("/usr/lib64/libcuda.so." + driverVersion)
			compile(t, "gcc", "driver.c", library, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE="+hostCUDA, "-DNEEDS_NEW_GLIBC")
			lib, err := m.node.Tree().Library("/usr/lib64/libcuda.so." + driverVersion)
			if err != nil || !strings.Contains(fmt.Sprint(lib.Needs), "GLIBC_2.34") {
				t.Skipf("this host's C library is older than 2.34: %v, %v", lib.Needs, err)
			}
			m.inImage(t, name)
			r := m.request(t)
			if glibc == "2.39" {
				expect(t, m.run(t, r, "/usr/bin/perl", "-e", perl), "loaded libcuda.so.1", "loaded libcuda.so", "linked")
				return
			}
			_, err = gpu.Edits(r)
			want := "libcuda.so." + driverVersion + " of NVIDIA driver " + driverVersion + " needs GLIBC_2.34, but the image's "
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "has only GLIBC_"+glibc) {
				t.Errorf("got %v, want %s... has only GLIBC_%s", err, want, glibc)
			}
		})
	}
}
