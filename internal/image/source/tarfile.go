package source

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

const (
	maxMembers = 100_000 // members of the archive itself, not of the layers in it
	maxHops    = 8       // links from one member to another

	// A decompressed archive may have freeArchive bytes, or maxRatio times the compressed size if
	// that is more.
	maxRatio    = 200
	freeArchive = 1 << 30

	maxZstdWindow = 128 << 20 // the limit of the program zstd without --long
)

// A tarFile is an archive whose members can be read in any order.
type tarFile struct {
	file    *os.File
	size    int64
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // the member that this one links to
}

// openTar opens an archive. It decompresses a compressed archive into a file without a name in
// dir, since the member that lists the images may come last.
func openTar(ctx context.Context, name, dir string) (*tarFile, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	head := make([]byte, 6)
	n, _ := f.ReadAt(head, 0)
	if compression(head[:n]) == "" {
		return indexTar(ctx, f)
	}
	defer f.Close()
	unpacked, err := spool(dir, func(w io.Writer) error { return decompress(ctx, w, f, max(freeArchive, info.Size()*maxRatio)) })
	if err != nil {
		return nil, err
	}
	return indexTar(ctx, unpacked)
}

// compression returns the compression by the first bytes, or "".
func compression(head []byte) string {
	for _, c := range []struct{ magic, name string }{
		{"\x1f\x8b", "gzip"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"\xfd7zXZ\x00", "xz"}, {"BZh", "bzip2"},
	} {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return c.name
		}
	}
	return ""
}

// decompress writes the decompressed content of f. It fails beyond most bytes.
func decompress(ctx context.Context, w io.Writer, f io.Reader, most int64) error {
	head := make([]byte, 6)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	f = io.MultiReader(bytes.NewReader(head[:n]), f)
	var r io.Reader
	switch kind := compression(head[:n]); kind {
	case "gzip":
		r, err = gzip.NewReader(f)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f, zstd.WithDecoderMaxWindow(maxZstdWindow)); err == nil {
			defer d.Close()
			r = d
		}
	case "bzip2":
		r = bzip2.NewReader(f)
	default:
		err = fmt.Errorf("%w: compressed with %s", ErrUnsupported, kind)
	}
	if err != nil {
		return err
	}
	written, err := io.Copy(w, io.LimitReader(&cancelled{r, ctx}, most+1))
	if err == nil && written > most {
		err = fmt.Errorf("%w: it decompresses to more than %d bytes", ErrMalformed, most)
	}
	return err
}

// A cancelled reader fails once its context has ended.
type cancelled struct {
	io.Reader
	ctx context.Context
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

// spool returns a file without a name that holds what write writes. Closing it removes it.
func spool(dir string, write func(io.Writer) error) (*os.File, error) {
	if dir == "" {
		dir = "/var/tmp"
	}
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		// NFS and older file systems do not support O_TMPFILE.
		if f, err = os.CreateTemp(dir, "ocishim-*"); err != nil {
			return nil, err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := write(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// indexTar indexes the members of an archive, and takes over the file.
func indexTar(ctx context.Context, f *os.File) (t *tarFile, err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	t = &tarFile{file: f, size: info.Size(), members: map[string]member{}}
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if len(t.members) >= maxMembers {
			return nil, fmt.Errorf("%w: more than %d members", ErrMalformed, maxMembers)
		}
		if err := t.add(header); err != nil {
			return nil, err
		}
	}
}

// add records where a member lies: tar.Reader has just read the header, and no further.
func (t *tarFile) add(header *tar.Header) error {
	name, ok := memberName(header.Name)
	if !ok {
		return nil
	}
	switch header.Typeflag {
	case tar.TypeReg:
		offset, err := t.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		for key := range header.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return nil // the bytes of a sparse file are not contiguous
			}
		}
		if header.Size < 0 || header.Size > t.size-offset {
			return fmt.Errorf("%w: %s extends past the end of the archive", ErrMalformed, text.Printable(name))
		}
		t.members[name] = member{offset: offset, size: header.Size}
	case tar.TypeLink, tar.TypeSymlink:
		target := header.Linkname
		if header.Typeflag == tar.TypeSymlink {
			target = path.Join(path.Dir(name), target)
		}
		if target, ok = memberName(target); ok {
			t.members[name] = member{link: target}
		}
	}
	return nil
}

// memberName cleans a name; it is false for a name that leads out of the archive.
func memberName(name string) (string, bool) {
	name = path.Clean(name)
	return name, name != "." && name != ".." && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "../")
}

func (t *tarFile) open(name string) (io.ReadCloser, int64, error) {
	name, _ = memberName(name)
	for range maxHops {
		m, found := t.members[name]
		if !found {
			break
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(t.file, m.offset, m.size)), m.size, nil
		}
		name = m.link
	}
	return nil, 0, fmt.Errorf("%s: %w", text.Printable(name), fs.ErrNotExist)
}

// Close closes the archive.
func (t *tarFile) Close() error { return t.file.Close() }
