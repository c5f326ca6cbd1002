package linker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// A scene is a host and an image, as directories.
type scene struct {
	*testing.T
	node, image *host.Tree
}

func newScene(t *testing.T) scene {
	t.Helper()
	return scene{t, newTree(t), newTree(t)}
}

func newTree(t *testing.T) *host.Tree {
	t.Helper()
	tree, err := host.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	return tree
}

// write makes a file, and its parent directories.
func (s scene) write(tree *host.Tree, file, text string) {
	s.Helper()
	at := tree.HostPath(file)
	s.check(os.MkdirAll(filepath.Dir(at), 0o755))
	s.check(os.WriteFile(at, []byte(text), 0o600))
}

func (s scene) link(tree *host.Tree, file, target string) {
	s.Helper()
	at := tree.HostPath(file)
	s.check(os.MkdirAll(filepath.Dir(at), 0o755))
	s.check(os.Symlink(target, at))
}

func (s scene) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// view returns the image with the mounts.
func (s scene) view(mounts ...specs.Mount) *View {
	s.Helper()
	v := NewView(s.image, nil)
	s.Cleanup(v.Close)
	v.Mount(mounts, s.node)
	return v
}

func bindOf(source, destination string) specs.Mount {
	return specs.Mount{Source: source, Destination: destination, Options: []string{"bind"}}
}

// However many directories are searched, few are open at once.
func TestManyDirectories(t *testing.T) {
	s := newScene(t)
	v := s.view()
	before := openFiles(t)
	for i := range 2 * mostOpen {
		dir := fmt.Sprintf("/dir%d", i)
		s.check(os.Mkdir(s.image.HostPath(dir), 0o755))
		if v.Dir(dir) == nil {
			t.Errorf("no %s", dir)
		}
	}
	if now := openFiles(t); now != before+mostOpen {
		t.Errorf("%d files are open, before %d", now, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Paths to the same directory share one Directory; a bind mount further down is
// another.
func TestDirectoriesByBinds(t *testing.T) {
	s := newScene(t)
	s.write(s.image, "/usr/lib/own", "")
	s.write(s.node, "/site/theirs", "")
	s.link(s.image, "/link", "usr/lib")
	s.link(s.image, "/deep", "/usr/lib/sub")
	v := s.view(bindOf("/site", "/usr/lib/sub"))
	if v.Dir("/usr/lib") == nil || v.Dir("/usr/lib") != v.Dir("/link") || v.Dir("/usr/lib/") != v.Dir("/link/../lib") || v.Dir("/link/../usr/lib") != nil {
		t.Error("one directory is several")
	}
	for _, dir := range []string{"/usr/lib/sub", "/link/sub", "/deep"} {
		if d := v.Dir(dir); d == nil || d != v.Dir("/usr/lib/sub") || len(v.List(dir)) != 1 || v.List(dir)[0] != "theirs" {
			t.Errorf("%s is %+v", dir, d)
		}
	}
	if len(v.List("/usr/lib")) != 1 || v.List("/none") != nil || v.Dir("/usr/lib/own") != nil {
		t.Error("what a directory holds")
	}
}

// A path shows what was mounted there last, as in the kernel: mounts follow links of
// the image, and a tmpfs hides what is below.
func TestMounts(t *testing.T) {
	s := newScene(t)
	s.write(s.image, "/usr/lib/a", "image")
	s.write(s.image, "/opt/a", "image")
	s.write(s.image, "/srv/a", "image")
	s.link(s.image, "/lib", "usr/lib")
	s.write(s.node, "/one/a", "one")
	s.write(s.node, "/two/a", "two")
	s.write(s.node, "/dev/shm/a", "node")
	v := s.view(
		bindOf("/one", "/lib/sub"), bindOf("/one/a", "/opt/a"), bindOf("/two", "/opt"), bindOf("/two", "/srv/a/b"),
		specs.Mount{Destination: "/srv", Type: "tmpfs", Source: "tmpfs"}, bindOf("/one/a", "/srv/deep/below/a"),
		bindOf("/nowhere", "/mnt"), bindOf("/dev", "/dev"), specs.Mount{Destination: "/dev/mqueue", Type: "mqueue"},
		bindOf("/proc", "/proc"),
	)
	for p, want := range map[string]string{
		"/lib/a": "image", "/usr/lib/sub/a": "one", "/lib/sub/a": "one", "/opt/a": "two",
		"/srv/a": "", "/srv/a/b/a": "", "/srv/deep/below/a": "one", "/mnt/a": "", "/dev/shm/a": "node", "/dev/mqueue/a": "", "/proc/self/comm": "",
	} {
		got := ""
		if in, err := v.Resolve(p); err == nil && in.Tree != nil {
			got = in.Tree.ReadLine(in.Path)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", p, got, want)
		}
	}
	for dir, want := range map[string]bool{"/srv": true, "/srv/deep": true, "/srv/deep/below": true, "/srv/deep/../deep": true, "/srv/none": false, "/srv/a": false} {
		if got := v.Dir(dir) != nil; got != want {
			t.Errorf("%s is there: %t", dir, got)
		}
	}
}

// Links and files of edits are visible, over the image's.
func TestMade(t *testing.T) {
	s := newScene(t)
	library := fakenode.ELF{Soname: "libx.so.1"}.String()
	s.write(s.node, "/driver/libx.so.1.5", library)
	s.write(s.image, "/usr/lib/libx.so.1", library)
	s.write(s.image, "/etc/made", library)
	s.link(s.image, "/lib", "usr/lib")
	v := s.view(bindOf("/driver", "/run/given/node/0"))
	v.Make([]bundle.Link{
		{Path: "/run/given/lib/libx.so.1", Target: "../node/0/libx.so.1.5"},
		{Path: "/lib/libx.so.1", Target: "/run/given/lib/libx.so.1"},
		{Path: "/run/given/loop", Target: "loop"},
	}, []bundle.File{{Path: "/etc/made"}})
	for _, p := range []string{"/run/given/lib/libx.so.1", "/usr/lib/libx.so.1", "/lib/libx.so.1"} {
		if o, err := v.Open(p); err != nil || o.File != s.node.HostPath("/driver/libx.so.1.5") {
			t.Errorf("%s is %+v, %v", p, o, err)
		}
	}
	for _, p := range []string{"/etc/made", "/run/given/loop", "/run/given/lib"} {
		if o, err := v.Open(p); err == nil {
			t.Errorf("%s is %+v", p, o)
		}
	}
}

// A view looks at the host only if a path leads there.
func TestMountsAreOpenedWhenNeeded(t *testing.T) {
	s := newScene(t)
	s.write(s.node, "/one/a", "one")
	before := openFiles(t)
	v := s.view(bindOf("/one", "/one"), bindOf("/one", "/two"))
	if now := openFiles(t); now != before {
		t.Errorf("%d files are open, before %d", now, before)
	}
	if v.Dir("/one") == nil {
		t.Error("no /one")
	}
	if now := openFiles(t); now != before+2 {
		t.Errorf("%d files are open, before %d", now, before)
	}
}
