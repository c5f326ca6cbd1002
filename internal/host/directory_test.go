package host

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A Directory finds the same as the root does: through links beside the file, to
// elsewhere, out of the view and in circles, also on old kernels.
func TestDirectoryFindLibrary(t *testing.T) {
	defer func() { openat2 = unix.Openat2 }()
	data, err := os.ReadFile("/bin/true")
	try(t, err)
	tree := open(t, map[string]string{
		"usr/lib/liba.so.1.2": string(data), "usr/lib/liba.so.1@": "liba.so.1.2", "usr/lib/liba.so@": "liba.so.1",
		"usr/lib/absolute@": "/etc/alternatives/a", "etc/alternatives/a@": "/usr/lib/liba.so.1", "usr/lib/up@": "../lib/liba.so.1.2",
		"usr/lib/self@": "self", "usr/lib/out@": "/../../../../../../../../bin/true", "usr/lib/lost@": "libb.so.1", "usr/lib/text": "text",
		"usr/lib/dots@": "..", "lib@": "usr/lib", "libr.so.1": string(data), "usr/lib/denied": string(data),
	})
	try(t, unix.Mkfifo(tree.HostPath("/usr/lib/fifo"), 0o666))
	try(t, os.Chmod(tree.HostPath("/usr/lib/denied"), 0))
	for _, find := range []func(int, string, *unix.OpenHow) (int, error){
		unix.Openat2, func(int, string, *unix.OpenHow) (int, error) { return -1, unix.ENOSYS },
	} {
		openat2 = find
		for _, path := range []string{"/lib", "/"} {
			dir, err := tree.OpenDirectory(path)
			try(t, err)
			defer dir.Close()
			names := append(tree.Names(path), "none", "", ".", "..")
			if listed := dir.Names(); !slices.Equal(slices.Sorted(slices.Values(listed)), slices.Sorted(slices.Values(names[:len(names)-4]))) {
				t.Errorf("%s holds %q, not %q", path, listed, names)
			}
			for _, name := range names {
				want, wantErr := tree.FindLibrary(path + "/" + name)
				for _, dir.Trusted = range []bool{false, true} {
					got, err := dir.FindLibrary(name)
					if !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) {
						t.Errorf("%s of %s: got %+v, %v, want %+v, %v", name, path, got, err, want, wantErr)
					}
				}
			}
		}
	}
}

func TestOpenDirectory(t *testing.T) {
	tree := open(t, map[string]string{"usr/lib/liba.so": "text", "lib@": "usr/lib", "out@": "/../../../../../../../../bin"})
	dir, err := tree.OpenDirectory("/lib")
	try(t, err)
	defer dir.Close()
	id, err := tree.Identity("/usr/lib")
	try(t, err)
	if dir.Path != "/usr/lib" || dir.Identity != id || !slices.Equal(dir.Names(), []string{"liba.so"}) {
		t.Errorf("got %+v, %q", dir, dir.Names())
	}
	plain, err := tree.OpenPlainDirectory("/usr/lib")
	try(t, err)
	defer plain.Close()
	for _, name := range []string{"liba.so", "none"} {
		want, wantErr := tree.PlainIdentity("/usr/lib/" + name)
		if got, err := plain.PlainIdentity(name); got != want || (err == nil) != (wantErr == nil) {
			t.Errorf("%s is %+v, %v, not %+v, %v", name, got, err, want, wantErr)
		}
	}
	for _, path := range []string{"/lib", "/usr/lib/liba.so", "/none"} {
		if _, err := tree.OpenPlainDirectory(path); err == nil {
			t.Errorf("%s is a plain directory", path)
		}
	}
	for _, path := range []string{"/lib/liba.so", "/none", "/out"} {
		if dir, err := tree.OpenDirectory(path); err == nil {
			t.Errorf("%s is %s", path, dir.Path)
		}
	}
}
