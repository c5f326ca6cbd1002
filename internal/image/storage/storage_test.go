package storage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/pace"
	"github.com/ocishim/ocishim/internal/process"
)

// importerVar makes the test's program an importer, into the store that it names.
const importerVar = "OCISHIM_TEST_IMPORT"

func TestMain(m *testing.M) {
	if path := os.Getenv(importerVar); path != "" {
		os.Exit(importer(path))
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

// sample is an image of two layers with files, the upper of which hides a part.
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

// Both formats are found, are whole, and say what they lack.
func TestImport(t *testing.T) {
	s := open(t, place(t))
	src := sample(5)
	tree := bring(t, s, src, image.Tree)
	squashfs := bring(t, s, src, image.Squashfs)
	for _, i := range []*image.Image{tree, squashfs} {
		if err := s.Verify(i); err != nil {
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

// left lists what importers have in the store beside images.
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

// A change of any kind is found.
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
		if err := s.Verify(i); !errors.Is(err, ErrDamaged) {
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
	if err := s.Verify(i); !errors.Is(err, ErrDamaged) {
		t.Errorf("squashfs: %v", err)
	}
}

// Importers that are killed at any time leave whole images or none, and the next one finds
// nothing of theirs in its way, and removes it.
func TestKilledImporters(t *testing.T) {
	p := place(t)
	s := open(t, p)
	rounds := 20
	began := time.Now()
	if err := run(t, p.Path); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	published, interrupted := 0, 0
	for round := range rounds {
		if err := s.Remove(sample(50).Digest); err != nil && !errors.Is(err, image.ErrNotFound) {
			t.Fatal(err)
		}
		cmd := start(t, p.Path)
		pace.Pause(whole * time.Duration(round) / time.Duration(rounds))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if len(left(t, s)) > 0 {
			interrupted++
		}
		records, reasons, err := s.List()
		if err != nil || len(reasons) > 0 {
			t.Fatal(err, reasons)
		}
		for _, r := range records {
			published++
			i, err := s.Store.Open(r.Digest, r.Format)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Verify(i), i.Close()); err != nil {
				t.Error(err)
			}
		}
		if round%5 == 4 {
			if err := run(t, p.Path); err != nil {
				t.Fatal(err)
			}
			if names := left(t, s); len(names) > 0 {
				t.Errorf("round %d: left after the next import: %v", round, names)
			}
		}
	}
	if published == 0 || interrupted == 0 {
		t.Errorf("%d rounds: %d images published before the kill, %d interrupted: the test looks at nothing", rounds, published, interrupted)
	}
}

func start(t *testing.T, store string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), importerVar+"="+store)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func run(t *testing.T, store string) error {
	t.Helper()
	return start(t, store).Wait()
}

// Of many importers one does the work, and all have the image.
func TestConcurrentImporters(t *testing.T) {
	p := place(t)
	for _, format := range formats() {
		src := sample(20)
		var opened atomic.Int32
		real := src.Layers[1].Open
		src.Layers[1].Open = func(ctx context.Context) (io.ReadCloser, error) {
			opened.Add(1)
			return real(ctx)
		}
		var all sync.WaitGroup
		for range 8 {
			s := open(t, p)
			s.renewal = 10 * time.Millisecond // how often they look
			all.Go(func() {
				i, err := s.Import(t.Context(), src, Options{Format: format, Limits: layers.DefaultLimits()})
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(s.Verify(i), i.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if opened.Load() != 1 {
			t.Errorf("%s: the layer was opened %d times", format, opened.Load())
		}
	}
}

// Without any lease two importers at once both succeed.
func TestPublishTwice(t *testing.T) {
	s := open(t, place(t))
	src := sample(5)
	hex, _ := src.Digest.Hex()
	for _, format := range formats() {
		entry := hex + "." + string(format)
		for range 2 {
			l, _, err := s.take(entry, "")
			if err != nil {
				t.Fatal(err)
			}
			err = s.makeAndPublish(t.Context(), src, Options{Format: format, Limits: layers.DefaultLimits()}, entry, l)
			if err := errors.Join(err, l.release()); err != nil {
				t.Fatal(err)
			}
		}
		// What is no image gives way.
		if err := os.WriteFile(filepath.Join(s.Path, image.ImagesDir, entry, image.RecordFile), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(bring(t, s, src, format)); err != nil {
			t.Error(err)
		}
	}
	if names := left(t, s); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// A lease whose holder is dead, or silent for too long, is taken over; one that is renewed
// is not.
func TestLease(t *testing.T) {
	s := open(t, place(t))
	l, _, err := s.take("x", "job 1")
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	if other, holder, err := s.take("x", ""); other != nil || err != nil || holder.Job != "job 1" {
		t.Fatalf("%v, %+v, %v", other, holder, err)
	}
	path := filepath.Join(s.Path, image.LeasesDir, "x")
	old := time.Now().Add(-2 * leaseAge)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	second, _, err := s.take("x", "job 2")
	if err != nil || second == nil {
		t.Fatal(second, err)
	}
	if err := l.release(); err != nil { // it is another's now
		t.Error(err)
	}
	if _, holder, err := s.take("x", ""); err != nil || holder.Job != "job 2" {
		t.Errorf("%+v, %v", holder, err)
	}
	if err := second.release(); err != nil {
		t.Error(err)
	}
	dead, err := json.Marshal(Holder{Host: s.host, Boot: process.BootID(), Process: process.ID{Pid: 1 << 22, Start: 1}, Pids: process.Numbering()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, dead, 0o644); err != nil {
		t.Fatal(err)
	}
	third, _, err := s.take("x", "")
	if err != nil || third == nil {
		t.Fatal(third, err)
	}
	s.renewal = time.Millisecond
	if err := third.release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if names := left(t, s); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// The least recently used goes first; what jobs use stays.
func TestEvict(t *testing.T) {
	s := open(t, place(t))
	s.grace = time.Hour
	var all []*image.Image
	for n := range 4 {
		i := bring(t, s, sample(3+n), image.Tree)
		if err := errors.Join(i.Touch(), s.SetRef(fmt.Sprint("name", n), i.Digest)); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(n) * time.Hour)
		if err := os.Chtimes(filepath.Join(filepath.Dir(i.Path), image.UsedFile), at, at); err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := all[0].Mark(image.Use{Host: s.host, Boot: process.BootID(), Process: self, Pids: process.Numbering()}); err != nil {
		t.Fatal(err)
	}
	if err := all[1].Mark(image.Use{Host: "another", Until: time.Now().Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	freed, err := s.Evict(all[0].Size + all[3].Size)
	if err != nil || len(freed.Images) != 2 || freed.Images[0] != all[1].Entry() || freed.Images[1] != all[2].Entry() {
		t.Fatalf("%+v, %v", freed, err)
	}
	if err := s.Remove(all[0].Digest); !errors.Is(err, ErrUsed) {
		t.Error(err)
	}
	refs, reasons, err := s.Refs()
	if err != nil || len(refs) != 2 || len(reasons) > 0 {
		t.Errorf("%v, %v, %v", refs, reasons, err)
	}
	// Who has it open goes on, until the grace is over, and a start that has begun beyond it.
	if err := s.Verify(all[1]); err != nil {
		t.Error(err)
	}
	s.grace = 0
	if _, err := s.Evict(1 << 40); err != nil {
		t.Error(err)
	}
	if trash, err := os.ReadDir(filepath.Join(s.Path, image.TrashDir)); err != nil || len(trash) > 0 {
		t.Errorf("%v, %v", trash, err)
	}
}

// A full disk, or one of few inodes, ends an import with that error, and leaves nothing.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	for _, limit := range []string{"size=128k", "nr_inodes=40"} {
		p := place(t)
		if err := os.Mkdir(p.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=700,"+limit, "none", p.Path).CombinedOutput(); err != nil {
			t.Skipf("mount: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("umount", "-l", p.Path).Run() })
		s := open(t, p)
		_, err := s.Import(t.Context(), sample(50), Options{Format: image.Tree, Limits: layers.DefaultLimits()})
		if err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%s: %v", limit, err)
		}
		if names := left(t, s); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
	}
}
