package serve

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/squashfs"
	"github.com/ocishim/ocishim/internal/pace"
)

// smallImages returns images with one of each kind of file, by compression, and one with an indexed
// directory. A fuzzer gets furthest with the uncompressed ones.
func smallImages(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/images/*.sqfs")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d images: %v", len(paths), err)
	}
	images := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		images[filepath.Base(path)] = data
	}
	return images
}

// explore sends a file system every request that the kernel could send, and returns how many files
// it found. It follows directories as deep and as far as its limits allow.
func explore(t testing.TB, image []byte, extra uint64) (found int) {
	t.Helper()
	const most = 300
	im, err := squashfs.Open(bytes.NewReader(image), int64(len(image)), squashfs.Limits{Data: 1 << 20, Metadata: 64 << 10})
	if err != nil {
		return 0
	}
	f := newFileSystem(im, 1, 2)
	queue := []uint64{fuse.FUSE_ROOT_ID, extra}
	for ; len(queue) > 0 && found < most; queue = queue[1:] {
		found++
		header := fuse.InHeader{NodeId: queue[0]}
		var attr fuse.AttrOut
		if f.GetAttr(nil, &fuse.GetAttrIn{InHeader: header}, &attr) != fuse.OK {
			continue
		}
		if attr.Uid != 1 || attr.Gid != 2 || attr.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
			t.Fatalf("attributes %+v", attr)
		}
		f.Readlink(nil, &header)
		for _, offset := range []uint64{0, 1, extra, attr.Size - 1, attr.Size / 2} {
			result, status := f.Read(nil, &fuse.ReadIn{InHeader: header, Offset: offset, Size: 1 << 17}, nil)
			if status != fuse.OK {
				continue
			}
			if size := result.Size(); size > 1<<17 || uint64(size) > attr.Size {
				t.Fatalf("%d bytes read at %d of %d", size, offset, attr.Size)
			}
		}
		for _, offset := range []uint64{0, extra} {
			plain := fuse.NewDirEntryList(make([]byte, 4096), offset)
			f.ReadDir(nil, &fuse.ReadIn{InHeader: header, Offset: offset, Size: 4096}, plain)
			members, err := fuse.ParseDirEntries(plain.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			f.ReadDirPlus(nil, &fuse.ReadIn{InHeader: header, Offset: offset, Size: 4096}, fuse.NewDirEntryList(make([]byte, 4096), offset))
			for _, m := range members {
				var entry fuse.EntryOut
				if f.Lookup(nil, &header, m.Name, &entry) == fuse.OK && entry.NodeId != 0 {
					queue = append(queue, entry.NodeId)
				}
			}
		}
	}
	return found
}

// FuzzServe changes images at random: the server must not trust anything in them.
func FuzzServe(f *testing.F) {
	for _, image := range smallImages(f) {
		f.Add(image, uint64(1<<16+5))
	}
	f.Fuzz(func(t *testing.T, image []byte, extra uint64) { explore(t, image, extra) })
}

// Each byte of an image is changed in turn, and the image is also cut off after each byte.
func TestChangedImages(t *testing.T) {
	for name, image := range smallImages(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := explore(t, image, 1)
			if whole < 15 {
				t.Fatalf("%d files", whole)
			}
			step := max(1, len(image)/120)
			for at := 0; at < len(image); at += step {
				for _, value := range []byte{0, 1, 0x80, 0xff} {
					changed := bytes.Clone(image)
					changed[at] = value
					explore(t, changed, uint64(at))
				}
				if found := explore(t, image[:at], 1); found != 0 {
					t.Fatalf("of %d bytes of %d files were found", at, found)
				}
			}
		})
	}
}

// False counts and sizes cost neither memory nor time.
func TestLies(t *testing.T) {
	image := smallImages(t)["plain.sqfs"]
	le := binary.LittleEndian
	super := func(offset int, value uint64) func([]byte) {
		return func(b []byte) { le.PutUint64(b[offset:], value) }
	}
	inodes := int(le.Uint64(image[64:]))
	tests := map[string]func([]byte){
		"fragments":         func(b []byte) { le.PutUint32(b[16:], 1<<32-1) },
		"table of inodes":   super(64, 1<<63),
		"directories":       super(72, 1<<64-2),
		"table of fragment": super(80, 1<<63+5),
		"root":              super(32, 1<<48-1),
		"root far away":     super(32, 1<<64-1),
	}
	// Every 32 bits of the inodes are made large: sizes, positions, counts.
	for at := inodes + 2; at < len(image)-4 && at < inodes+700; at += 2 {
		changed := bytes.Clone(image)
		le.PutUint32(changed[at:], 1<<32-2)
		check(t, changed)
	}
	for name, lie := range tests {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Clone(image)
			lie(changed)
			check(t, changed)
		})
	}
}

func check(t *testing.T, image []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	explore(t, image, 1)
	runtime.ReadMemStats(&after)
	if took := time.Since(began); took > pace.Of(5*time.Second) {
		t.Errorf("it takes %v", took)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("it takes %d bytes", grown)
	}
}
