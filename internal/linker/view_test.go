package linker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/host"
)

// A scene is a node and an image, as directories.
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

// write makes a file, and the directories that it needs.
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

// view is the image with the mounts.
func (s scene) view(mounts ...specs.Mount) *View {
	s.Helper()
	v := NewView(s.image, nil)
	s.Cleanup(v.Close)
	v.Bind(mounts, s.node)
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

// Paths to one directory are one; what is bound somewhere below is another.
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
