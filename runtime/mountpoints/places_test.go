package mountpoints

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// Looking up a place once for many paths gives the same result as looking up each.
func TestPlaces(t *testing.T) {
	rootfs := image(t, "usr/lib/libx.so", "run/", "lib -> usr/lib", "var/run -> /run", "out -> ../../etc", "loop -> loop", "usr/lib/liby.so -> libx.so",
		"usr/lib/gone.so -> ../nothing/x", "file")
	root, err := os.OpenFile(rootfs, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p := places{rootfs, root, map[string]location{}}
	for _, path := range []string{
		"/", "/usr/lib/libx.so", "/lib/libx.so", "/lib/liby.so", "/lib/gone.so", "/lib/new.so", "/lib/new/dir/a", "/lib/new/dir/b", "/var/run/x", "/var/run/x/y",
		"/out/passwd", "/out/passwd/x", "/loop/x", "/file/x", "/file/x/y", "/a/b/c", "/a/b/d", "/a/../usr/lib/z", "/var/run/../x", "//usr//lib//q", "usr/lib/r", "/new",
	} {
		full, err := securejoin.SecureJoin(rootfs, path)
		want := filepath.Clean("/" + strings.TrimPrefix(full, rootfs))
		got, dir, gotErr := p.of(path)
		if (err == nil) != (gotErr == nil) || err == nil && got != want {
			t.Errorf("%s is at %s (%v), want %s (%v)", path, got, gotErr, want, err)
		}
		if gotErr != nil || dir.path == "" {
			continue
		}
		if exists(root, got) && dir.missing() {
			t.Errorf("%s is there, and its directory is said to be missing", path)
		}
		if dir.missing() && deepest(root, filepath.Dir(got)) != dir.deepest {
			t.Errorf("%s: the deepest directory is %s, want %s", path, dir.deepest, deepest(root, filepath.Dir(got)))
		}
	}
}

// What is made in a directory that is open stays there, and no link leads out.
func TestMaker(t *testing.T) {
	made, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(made, "link")); err != nil {
		t.Fatal(err)
	}
	m := newMaker(made)
	defer m.close()
	for _, target := range []struct {
		rel string
		target
		fails bool
	}{
		{"/a/b/file", target{file: true}, false},
		{"/a/b/other", target{file: true}, false},
		{"/a/b/file", target{file: true}, false}, // it already exists
		{"/a/b/link", target{link: "file"}, false},
		{"/a/dir", target{}, false},
		{"/a/dir/file", target{file: true}, false},
		{"/link/file", target{file: true}, true},
		{"/a/b/link", target{file: true}, true},
		{"/a/b/after", target{file: true}, false},
	} {
		if err := m.make(target.rel, target.target); (err != nil) != target.fails {
			t.Errorf("%s: %v", target.rel, err)
		}
	}
	for _, path := range []string{"/a/b/file", "/a/b/other", "/a/dir/file", "/a/b/after"} {
		if info, err := os.Lstat(made + path); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if link, err := os.Readlink(made + "/a/b/link"); err != nil || link != "file" {
		t.Errorf("the link: %s, %v", link, err)
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside: %v, %v", names, err)
	}
}
