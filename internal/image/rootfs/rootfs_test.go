package rootfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/rootfs"
)

// tree begins a tree in a directory. Nothing may be written to outside, the directory beside it.
func tree(t *testing.T) (w *rootfs.Tree, dir, outside string) {
	t.Helper()
	top := t.TempDir()
	dir, outside = filepath.Join(top, "image"), filepath.Join(top, "outside")
	for _, d := range []string{dir, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.Create(filepath.Join(top, "list"))
	if err != nil {
		t.Fatal(err)
	}
	w = rootfs.NewTree(root, "root", list)
	if err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		_ = root.Close()
		_ = list.Close()
	})
	return w, filepath.Join(dir, "root"), outside
}

func file(path, content string) (layers.Member, io.Reader) {
	return layers.Member{Path: path, Size: int64(len(content)), Mode: 0o644}, strings.NewReader(content)
}

// Even if a link is in the way or a name leads upwards, nothing is written outside the tree.
func TestTreeStaysInside(t *testing.T) {
	for name, c := range map[string]struct{ target, path string }{
		"absolute":  {"", "a/x"},
		"relative":  {"../../outside", "a/x"},
		"in a link": {"", "a/b/x"},
		"the link":  {"", "a"},
		"upwards":   {"/", "../../outside/x"},
		"dots":      {"/", "b/../../../outside/x"},
	} {
		w, _, outside := tree(t)
		target := c.target
		if target == "" {
			target = outside
		}
		if err := w.Other(layers.Member{Path: "a", Kind: layers.Symlink, Target: target}); err != nil {
			t.Fatal(err)
		}
		if err := w.File(file(c.path, "1")); err == nil {
			t.Errorf("%s: a file at %s is no error", name, c.path)
		}
		if err := w.Link(c.path, "a"); err == nil && c.path != "a" {
			t.Errorf("%s: a link at %s is no error", name, c.path)
		}
		if err := w.Directory(layers.Member{Path: c.path, Kind: layers.Directory, Mode: 0o777}); err == nil {
			t.Errorf("%s: a directory at %s is no error", name, c.path)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Errorf("%s: outside: %v, %v", name, entries, err)
		}
	}
}

// A tree's files and directories get modes and times, and zeros become holes.
func TestTree(t *testing.T) {
	w, root, _ := tree(t)
	then := time.Unix(1000000000, 0)
	size := 8 << 20
	content := append([]byte("start"), make([]byte, size-5)...)
	m := layers.Member{Path: "d/holes", Size: int64(size), Mode: 0o6777, ModTime: then, Xattrs: map[string]string{"user.x": "1"}}
	if err := w.File(m, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Directory(layers.Member{Path: "d", Kind: layers.Directory, Mode: 0o1777, ModTime: then}); err != nil {
		t.Fatal(err)
	}
	if err := w.File(file("short", "1")); err != nil {
		t.Fatal(err)
	}
	short, _ := file("cut", "12")
	if err := w.File(short, strings.NewReader("1")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that ends early: %v", err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{"d": os.ModeDir | 0o755, "d/holes": 0o755, "short": 0o644, ".": os.ModeDir | 0o755} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, mode)
		}
		if strings.HasPrefix(path, "d") && !info.ModTime().Equal(then) {
			t.Errorf("%s is of %v", path, info.ModTime())
		}
	}
	data, err := os.ReadFile(filepath.Join(root, "d/holes"))
	if err != nil || !bytes.Equal(data, content) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(root, "d/holes"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("it takes %d bytes of the disk, %v", st.Blocks*512, err)
	}
	if w.Lost["setuid or setgid"] != 1 || w.Lost["writable by others"] != 2 {
		t.Errorf("lost: %v", w.Lost)
	}
}

// A tree with names of any bytes is as it was written, until something is added to it.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	parent, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close() //nolint:errcheck // only its files matter
	list, err := parent.Create("list")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	w := rootfs.NewTree(parent, "tree", list)
	defer w.Close()
	if err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := w.File(file("\xff\xfe/\xe9", "1")); err != nil {
		t.Fatal(err)
	}
	if err := w.Directory(layers.Member{Path: "\xff\xfe", Kind: layers.Directory, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	written, err := parent.OpenRoot("tree")
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close() //nolint:errcheck // only read from
	verify := func() error {
		if _, err := list.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		return rootfs.Verify(written, list)
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tree/\xff\xfe/new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(); !errors.Is(err, rootfs.ErrDiffers) {
		t.Errorf("with a new file: %v", err)
	}
}

// Half a tree is removed even if its owner may not enter its directories.
func TestRemove(t *testing.T) {
	if os.Geteuid() == 0 { // modes do not restrict root
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestRemove$")
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // of a test
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		cmd.Env, cmd.Dir = []string{"TMPDIR=" + dir}, dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	top := t.TempDir()
	keep := filepath.Join(top, "keep")
	for _, dir := range []string{keep, top + "/x/a/b", top + "/x/c"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(keep, top+"/x/a/link"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"x/a/b", "x/a", "x/c", "x"} {
		if err := os.Chmod(filepath.Join(top, dir), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(keep, 0o500); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // only read
	for range 2 {
		if err := rootfs.Remove(root, "x"); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(top + "/x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if info, err := os.Stat(keep); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("what a link led to: %v, %v", info, err)
	}
}

// The same root file system always becomes the same file, whoever makes it and when.
func TestSquashfsIsReproducible(t *testing.T) {
	var sums [2][32]byte
	for i := range sums {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		w := rootfs.NewSquashfs(t.Context(), root, "x")
		for range i + 1 { // the second one begins twice
			if err := w.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := w.File(file("d/a", strings.Repeat("text", 100000))); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Directory(layers.Member{Path: "d", Kind: layers.Directory, Mode: 0o755}), w.Finish()); err != nil {
			t.Fatal(err)
		}
		data, err := root.ReadFile("x")
		if err := errors.Join(err, root.Close()); err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(data)
	}
	if sums[0] != sums[1] {
		t.Errorf("%x, %x", sums[0], sums[1])
	}
}

// A layer that ends early is reported as such, not as a broken pipe.
func TestSquashfsOfShortFile(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // only read
	w := rootfs.NewSquashfs(t.Context(), root, "x")
	if err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	m, _ := file("a", "12")
	if err := w.File(m, strings.NewReader("1")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that ends early: %v", err)
	}
	w.Close()
}
