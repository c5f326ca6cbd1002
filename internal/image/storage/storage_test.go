package storage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
)

// importerVar makes the test's program an importer into the store that the variable names.
const importerVar = "OCISHIM_TEST_IMPORT"

func TestMain(m *testing.M) {
	if path := os.Getenv(importerVar); path != "" {
		os.Exit(importer(path))
	}
	if words := os.Getenv(herdVar); words != "" {
		os.Exit(herdImporter(words))
	}
	os.Exit(m.Run())
}

// importer imports the sample in both formats, one after the other.
func importer(path string) int {
	s, err := Open(image.Place{Path: path, Owners: []int{os.Geteuid()}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, format := range formats() {
		if _, err := s.Import(context.Background(), sample(50), Options{Format: format, Limits: layers.DefaultLimits()}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func formats() []image.Format { return []image.Format{image.Tree, image.Squashfs} }

// sample returns an image with two layers of files; the upper layer hides some of the lower.
func sample(files int) *source.Source {
	lower, upper := newArchive(), newArchive()
	lower.add(&tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o500, Uid: 1234}, "")
	for i := range files {
		lower.add(&tar.Header{Name: fmt.Sprintf("d/%d", i), Mode: 0o4755}, strings.Repeat(fmt.Sprint(i), 3000))
	}
	lower.add(&tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3, Mode: 0o666}, "")
	lower.add(&tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "d/0"}, "")
	lower.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "soft", Linkname: "/etc/passwd"}, "")
	upper.add(&tar.Header{Name: "d/.wh.1"}, "")
	upper.add(&tar.Header{Name: "zero"}, strings.Repeat("\x00", 1<<20))
	upper.add(&tar.Header{Typeflag: tar.TypeDir, Name: "shut/", Mode: 0}, "")
	upper.add(&tar.Header{Name: "shut/\xff", Mode: 0}, "unreadable")
	src := &source.Source{Reference: "test", Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Layers: []source.Layer{lower.layer(), upper.layer()}}
	src.Digest = digestOfBytes([]byte(src.Layers[0].Digest + src.Layers[1].Digest))
	return src
}

type testArchive struct {
	bytes.Buffer
	*tar.Writer
}

func newArchive() *testArchive {
	a := new(testArchive)
	a.Writer = tar.NewWriter(&a.Buffer)
	return a
}

func (a *testArchive) add(h *tar.Header, content string) {
	h.Size = int64(len(content))
	if err := a.WriteHeader(h); err != nil {
		panic(err)
	}
	if _, err := io.WriteString(a.Writer, content); err != nil {
		panic(err)
	}
}

func (a *testArchive) layer() source.Layer {
	if err := a.Close(); err != nil {
		panic(err)
	}
	data := a.Bytes()
	return source.Layer{Digest: digestOfBytes(data), DiffID: digestOfBytes(data), Size: int64(len(data)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

func digestOfBytes(data []byte) image.Digest {
	sum := sha256.Sum256(data)
	return image.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func place(t *testing.T) image.Place {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return image.Place{Path: filepath.Join(dir, "store"), Owners: []int{os.Geteuid()}}
}

func open(t *testing.T, p image.Place) *Store {
	t.Helper()
	s, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func bring(t *testing.T, s *Store, src *source.Source, format image.Format) *image.Image {
	t.Helper()
	i, err := s.Import(t.Context(), src, Options{Format: format, Limits: layers.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// Both formats are found, are complete, and record what was lost.
func TestImport(t *testing.T) {
	s := open(t, place(t))
	src := sample(5)
	tree := bring(t, s, src, image.Tree)
	squashfs := bring(t, s, src, image.Squashfs)
	for _, i := range []*image.Image{tree, squashfs} {
		if err := Verify(i); err != nil {
			t.Error(err)
		}
		if i.Files != 11 || i.Digest != src.Digest {
			t.Errorf("%s: %d members, %s", i.Format, i.Files, i.Digest)
		}
	}
	if l := tree.Lost; l["devices"] != 1 || l["setuid or setgid"] != 4 || l["owners"] != 1 {
		t.Errorf("the tree lost %v", l)
	}
	if l := squashfs.Lost; len(l) != 0 {
		t.Errorf("the file lost %v", l)
	}
	info, err := os.Stat(filepath.Join(tree.Path, "shut/\xff"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	out, err := exec.Command("unsquashfs", "-lln", squashfs.Path).CombinedOutput()
	for _, want := range []string{"crw-rw-rw- 0/0                   1,  3", "dr-x------ 1234/0", "-rwsr-xr-x", "d--------- 0/0", "soft -> /etc/passwd"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("unsquashfs has no %q: %v\n%s", want, err, out)
		}
	}
	if found, reasons, err := (image.Stores{s.Store}).Find(src.Digest); err != nil || len(reasons) > 0 || found.Format != image.Tree {
		t.Errorf("%v, %v, %v", found, reasons, err)
	}
	if names := left(t, s); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// Others can read all of a store that they may read, whatever the importer's umask. A private image
// does not go into such a store by default.
func TestReadableByOthers(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	s := open(t, place(t))
	if err := os.Chmod(s.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, format := range formats() {
		src := sample(3)
		src.Private = true
		o := Options{Format: format, Limits: layers.DefaultLimits()}
		if _, err := s.Import(t.Context(), src, o); !errors.Is(err, ErrPrivate) {
			t.Errorf("a private image: %v", err)
		}
		o.Share = true
		i, err := s.Import(t.Context(), src, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{i.Path, filepath.Dir(i.Path), filepath.Join(filepath.Dir(i.Path), image.RecordFile), filepath.Join(s.Path, image.ImagesDir)} {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm()&0o044 != 0o044 || info.IsDir() && info.Mode().Perm()&0o011 != 0o011 || info.Mode().Perm()&0o022 != 0 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

// left lists what importers have left in the store beside images.
func left(t *testing.T, s *Store) (names []string) {
	t.Helper()
	for _, dir := range []string{image.TmpDir, image.LeasesDir} {
		entries, err := os.ReadDir(filepath.Join(s.Path, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, dir+"/"+e.Name())
		}
	}
	return names
}

// mksquashfs gets names and link targets of every kind unchanged.
func TestSquashfsNames(t *testing.T) {
	s := open(t, place(t))
	long := strings.Repeat("long/", 60) + "end"
	targets := map[string]string{"plain": "/usr/x", "utf8": "/usr/\u0151", "bytes": "/\xff\xfe", "far": "/" + long, "relative": "../" + long, "n\u00e4me": "/a"}
	a := newArchive()
	for name, target := range targets {
		a.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}, "")
	}
	a.add(&tar.Header{Name: long, Mode: 0o644, Uid: 718322462, Gid: 718322462, PAXRecords: map[string]string{
		"SCHILY.xattr.user.kept": "1", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.security.capability": "x",
	}}, "text")
	a.add(&tar.Header{Typeflag: tar.TypeLink, Name: "hard\xff", Linkname: long}, "")
	src := &source.Source{Layers: []source.Layer{a.layer()}}
	src.Digest = src.Layers[0].Digest
	i := bring(t, s, src, image.Squashfs)
	if i.Lost["capabilities"] != 1 || i.Lost["extended attributes"] != 1 {
		t.Errorf("lost: %v", i.Lost)
	}
	out := filepath.Join(t.TempDir(), "out")
	if msg, err := exec.Command("unsquashfs", "-q", "-n", "-user-xattrs", "-d", out, i.Path).CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v: %s", err, msg)
	}
	for name, target := range targets {
		if got, err := os.Readlink(filepath.Join(out, name)); err != nil || got != target {
			t.Errorf("%q leads to %q, want %q (%v)", name, got, target, err)
		}
	}
	var file, hard unix.Stat_t
	if err := errors.Join(unix.Lstat(filepath.Join(out, long), &file), unix.Lstat(filepath.Join(out, "hard\xff"), &hard)); err != nil {
		t.Fatal(err)
	}
	if file.Ino != hard.Ino || os.Geteuid() == 0 && file.Uid != 718322462 {
		t.Errorf("inodes %d, %d, owner %d", file.Ino, hard.Ino, file.Uid)
	}
	list, err := exec.Command("unsquashfs", "-lln", i.Path).Output()
	if err != nil || !strings.Contains(string(list), "718322462/718322462") {
		t.Errorf("%v\n%s", err, list)
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(out, long), "user.kept", value); err == nil && string(value[:n]) != "1" {
		t.Errorf("user.kept is %q", value[:n])
	}
	if n, err := unix.Listxattr(filepath.Join(out, long), make([]byte, 1000)); err == nil && n != len("user.kept")+1 {
		t.Errorf("%d bytes of names of extended attributes", n)
	}
}

// Verify finds every kind of change.
func TestVerify(t *testing.T) {
	p := place(t)
	s := open(t, p)
	for name, change := range map[string]func(root string) error{
		"content": func(root string) error { return os.WriteFile(root+"/d/0", bytes.Repeat([]byte("1"), 3000), 0) },
		"gone":    func(root string) error { return os.Remove(root + "/d/2") },
		"new":     func(root string) error { return os.WriteFile(root+"/d/new", nil, 0o644) },
		"mode":    func(root string) error { return os.Chmod(root+"/d/0", 0o600) },
		"target": func(root string) error {
			return errors.Join(os.Remove(root+"/soft"), os.Symlink("/etc/shadow", root+"/soft"))
		},
		"link": func(root string) error {
			return errors.Join(os.Remove(root+"/hard"), os.WriteFile(root+"/hard", nil, 0o644))
		},
		"list": func(root string) error { return os.Truncate(filepath.Dir(root)+"/"+image.MembersFile, 10) },
	} {
		i := bring(t, s, sample(5), image.Tree)
		if err := change(i.Path); err != nil {
			t.Fatal(err)
		}
		if err := Verify(i); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Remove(i.Digest); err != nil {
			t.Fatal(err)
		}
	}
	i := bring(t, s, sample(5), image.Squashfs)
	f, err := os.OpenFile(i.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{0xff}, i.Size/2)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := Verify(i); !errors.Is(err, ErrDamaged) {
		t.Errorf("squashfs: %v", err)
	}
}

// A copy of a tree that is not as its list says is not published.
func TestImportLike(t *testing.T) {
	from, to := open(t, place(t)), open(t, place(t))
	original := bring(t, from, sample(3), image.Tree)
	copied := Options{Format: image.Tree, Limits: layers.DefaultLimits(), Like: original}
	if err := os.WriteFile(filepath.Join(original.Path, "zero"), make([]byte, 1<<20-1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Import(t.Context(), Source(original), copied); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed tree: %v", err)
	}
	if records, _, err := to.List(); err != nil || len(records) > 0 {
		t.Errorf("published: %v, %v", records, err)
	}
	if err := os.WriteFile(filepath.Join(original.Path, "zero"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := to.Import(t.Context(), Source(original), copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Verify(found), found.Close()); err != nil {
		t.Error(err)
	}
}
