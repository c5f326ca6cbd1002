package squashfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

var testLimits = Limits{Data: 8 << 20, Metadata: 1 << 20}

// makeImage makes an image from a tree with mksquashfs.
func makeImage(t testing.TB, tree string, options ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image.sqfs")
	args := append([]string{tree, image, "-no-progress", "-quiet", "-no-xattrs", "-processors", "2"}, options...)
	if out, err := exec.Command("mksquashfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	return image
}

func openImage(t testing.TB, path string, limits Limits) *Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	im, err := Open(f, info.Size(), limits)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// content returns reproducible bytes that compress by half.
func content(seed, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() & 15)
	}
	return b
}

// makeTree writes files of many sizes, a directory with many members, hard and symbolic
// links, holes, and names that are not UTF-8.
func makeTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	write := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range []int{0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 1<<20 + 17} {
		write(fmt.Sprintf("sizes/%d", n), content(i, n))
	}
	for i := range 1500 {
		write(fmt.Sprintf("many/a-rather-long-name-of-a-file-%05d", i), []byte(fmt.Sprint(i)))
	}
	write("b\xff\xfe/\xc3\xa4 \n", []byte("name"))
	write("no/owner", []byte("x"))
	holes, err := os.Create(filepath.Join(dir, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	_, one := holes.WriteAt([]byte("begin"), 0)
	_, two := holes.WriteAt(content(7, 200000), 2<<20)
	if err := errors.Join(one, two, holes.Truncate(4<<20+3), holes.Close(),
		os.Link(filepath.Join(dir, "sizes/4097"), filepath.Join(dir, "hard")),
		os.Symlink("sizes/4097", filepath.Join(dir, "soft")),
		os.Symlink("/"+string(bytes.Repeat([]byte("x/"), 2000)), filepath.Join(dir, "long")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.Mkdir(filepath.Join(dir, "empty"), 0o700), os.Chmod(filepath.Join(dir, "no"), 0)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readFile reads a whole file, n bytes at a time.
func readFile(im *Image, i *Inode, n int) ([]byte, error) {
	var all []byte
	for uint64(len(all)) < i.Size {
		pieces, err := im.ReadAt(i, uint64(len(all)), n)
		if err != nil {
			return nil, err
		}
		before := len(all)
		for _, p := range pieces {
			all = append(all, p...)
		}
		if len(all) == before {
			return nil, fmt.Errorf("nothing at %d of %d", before, i.Size)
		}
	}
	return all, nil
}

// members lists a directory, and starts a new listing after every `every` entries.
func members(im *Image, dir *Inode, every int) (map[string]Entry, error) {
	entries := map[string]Entry{}
	place := Place(0)
	for {
		l, err := im.List(dir, place)
		if err != nil {
			return nil, err
		}
		for range every {
			e, err := l.Next()
			if End(err) {
				return entries, nil
			}
			if err != nil {
				return nil, err
			}
			if _, twice := entries[string(e.Name)]; twice {
				return nil, fmt.Errorf("%q comes twice", e.Name)
			}
			place = e.Next
			name := string(e.Name)
			e.Name = nil
			entries[name] = e
		}
	}
}

// compare compares a directory of the image with one of the tree, and everything below.
func compare(t *testing.T, im *Image, ref Ref, path string, numbers map[uint64]uint32) {
	t.Helper()
	dir, err := im.Inode(ref)
	if err != nil {
		t.Fatal(path, err)
	}
	var entries map[string]Entry
	for _, every := range []int{1 << 20, 1, 7, 256} {
		again, err := members(im, &dir, every)
		if err != nil {
			t.Fatalf("%s, %d at once: %v", path, every, err)
		}
		if entries != nil && fmt.Sprint(again) != fmt.Sprint(entries) {
			t.Fatalf("%s, %d at once: other entries", path, every)
		}
		entries = again
	}
	want, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != len(entries) {
		t.Errorf("%s: %d entries, want %d", path, len(entries), len(want))
	}
	for _, w := range want {
		below := filepath.Join(path, w.Name())
		found, err := im.Lookup(&dir, []byte(w.Name()))
		e, listed := entries[w.Name()]
		if err != nil || !listed || e.Ref != found {
			t.Errorf("%s: %v, listed %v", below, err, listed)
			continue
		}
		i, err := im.Inode(found)
		if err != nil {
			t.Fatal(below, err)
		}
		info, err := w.Info()
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		links := uint32(stat.Nlink) // which has 64 bits on some machines
		if uint32(i.Mode) != stat.Mode&0o7777 || !i.Time.Equal(info.ModTime().Truncate(1e9)) || i.Type != e.Type || i.Number != e.Number || i.Links != links {
			t.Errorf("%s: %+v, want %+v", below, i, stat)
		}
		if was, again := numbers[stat.Ino]; again && was != i.Number {
			t.Errorf("%s: two inodes for what is one", below)
		}
		numbers[stat.Ino] = i.Number
		switch {
		case info.IsDir():
			compare(t, im, found, below, numbers)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(below)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1 << 20, 100003} {
				if got, err := readFile(im, &i, n); err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
					t.Errorf("%s: %d bytes, want %d: %v", below, len(got), len(data), err)
				}
			}
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(below)
			if got, e := im.Target(&i); err != nil || e != nil || string(got) != target {
				t.Errorf("%s: %q, want %q: %v", below, got, target, e)
			}
		}
	}
	for _, name := range []string{"", ".", "..", "a-rather-long-name-of-a-file-", "zzz", "a"} {
		if _, err := im.Lookup(&dir, []byte(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s/%s: %v", path, name, err)
		}
	}
}

// An image has everything that the tree has, however it was compressed.
func TestTree(t *testing.T) {
	tree := makeTree(t)
	for name, options := range map[string][]string{
		"zstd":            {"-comp", "zstd"},
		"gzip":            {"-comp", "gzip"},
		"lz4":             {"-comp", "lz4"},
		"xz":              {"-comp", "xz", "-Xbcj", "x86"},
		"large blocks":    {"-comp", "zstd", "-b", "1M"},
		"small blocks":    {"-comp", "lz4", "-b", "4K"},
		"no fragments":    {"-comp", "zstd", "-no-fragments"},
		"all fragments":   {"-comp", "zstd", "-always-use-fragments"},
		"not compressed":  {"-noI", "-noD", "-noF"},
		"some compressed": {"-comp", "zstd", "-noF", "-noI"},
		"not exportable":  {"-comp", "zstd", "-no-exports", "-no-duplicates"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			im := openImage(t, makeImage(t, tree, options...), testLimits)
			compare(t, im, im.Root(), tree, map[uint64]uint32{})
			if im.data.held > im.data.limit || im.meta.held > im.meta.limit {
				t.Errorf("the caches hold %d and %d bytes, at most %d and %d", im.data.held, im.meta.held, im.data.limit, im.meta.limit)
			}
		})
	}
}

// A file with so many blocks that they are found by marks can be read at random places.
func TestManyBlocks(t *testing.T) {
	tree := t.TempDir()
	data := content(3, 40<<20+5)
	if err := os.WriteFile(filepath.Join(tree, "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	im := openImage(t, makeImage(t, tree, "-comp", "lz4", "-b", "4K"), testLimits)
	i := lookup(t, im, "file")
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 1000 {
		off, n := r.IntN(len(data)), 1+r.IntN(20000)
		if round == 500 {
			off = len(data) - 1
		}
		pieces, err := im.ReadAt(&i, uint64(off), n)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(pieces, nil); !bytes.Equal(got, data[off:min(off+n, len(data))]) {
			t.Fatalf("%d bytes at %d differ", n, off)
		}
	}
	marks, err := im.marks.get(i.Ref, nil)
	if err != nil || len(marks.marks) != len(data)/4096/markEvery {
		t.Errorf("%d marks: %v", len(marks.marks), err)
	}
}

func lookup(t *testing.T, im *Image, name string) Inode {
	t.Helper()
	root, err := im.Inode(im.Root())
	if err != nil {
		t.Fatal(err)
	}
	ref, err := im.Lookup(&root, []byte(name))
	if err != nil {
		t.Fatal(err)
	}
	i, err := im.Inode(ref)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// However many goroutines read a file, each of its blocks is decompressed once.
func TestManyReaders(t *testing.T) {
	tree := t.TempDir()
	const blocks = 20
	data := content(3, blocks<<17)
	if err := os.WriteFile(filepath.Join(tree, "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	im := openImage(t, makeImage(t, tree, "-comp", "zstd"), Limits{Data: 2 * blocks << 17, Metadata: 1 << 20})
	i := lookup(t, im, "file")
	before := im.data.loads
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if got, err := readFile(im, &i, 50000); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read: %v", err)
			}
		})
	}
	wg.Wait()
	if loads := im.data.loads - before; loads != blocks {
		t.Errorf("%d blocks were decompressed, the file has %d", loads, blocks)
	}
}
