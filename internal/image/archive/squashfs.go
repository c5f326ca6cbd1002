package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/squashfs"
	"github.com/ocishim/ocishim/internal/text"
)

// memory is how much of a squashfs is cached while it is read, in bytes.
const memory = 32 << 20

// Squashfs writes the content of a squashfs of size bytes. Everything belongs to user 0. Sockets
// and extended attributes are left out.
func Squashfs(ctx context.Context, out io.Writer, image io.ReaderAt, size int64) error {
	im, err := squashfs.Open(image, size, squashfs.Limits{Data: memory, Metadata: memory / 4})
	if err != nil {
		return fmt.Errorf("read squashfs: %w", err)
	}
	s := &packed{writer: newWriter(ctx, out), image: im, links: map[uint32]string{}}
	root, err := im.Inode(im.Root())
	if err == nil {
		err = s.members(&root, ".", 0)
	}
	if err != nil {
		return fmt.Errorf("read squashfs: %w", err)
	}
	return s.tar.Close()
}

type packed struct {
	*writer
	image   *squashfs.Image
	links   map[uint32]string // the first name of each file with several names, by inode
	written uint64
}

// membersMost is how many names an image may have. A directory with several names counts its
// members for each of them.
const membersMost = 4 << 20

func (s *packed) members(dir *squashfs.Inode, at string, depth int) error {
	listing, err := s.image.List(dir, 0)
	if err != nil {
		return err
	}
	for {
		e, err := listing.Next()
		if squashfs.End(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.written++; s.written > membersMost {
			return fmt.Errorf("more than %d members", membersMost)
		}
		member := path.Join(at, string(e.Name))
		if err := s.check(member, depth); err != nil {
			return err
		}
		inode, err := s.image.Inode(e.Ref)
		if err == nil {
			err = s.member(&inode, member, depth)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", text.Printable(member), err)
		}
	}
}

func (s *packed) member(i *squashfs.Inode, at string, depth int) error {
	h := &tar.Header{Name: at, Mode: int64(i.Mode), Format: tar.FormatPAX}
	switch i.Type {
	case squashfs.Directory:
		h.Typeflag = tar.TypeDir
		if err := s.header(h, i.Time); err != nil {
			return err
		}
		return s.members(i, at, depth+1)
	case squashfs.File:
		return s.file(i, h)
	case squashfs.Symlink:
		target, err := s.image.Target(i)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(target)
	case squashfs.Fifo:
		h.Typeflag = tar.TypeFifo
	case squashfs.CharDevice, squashfs.BlockDevice:
		h.Typeflag = tar.TypeChar
		if i.Type == squashfs.BlockDevice {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(uint64(i.Device))), int64(unix.Minor(uint64(i.Device)))
	default:
		return nil
	}
	return s.header(h, i.Time)
}

func (s *packed) file(i *squashfs.Inode, h *tar.Header) error {
	if first, seen := s.links[i.Number]; seen && i.Links > 1 {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return s.header(h, i.Time)
	}
	if i.Links > 1 {
		s.links[i.Number] = h.Name
	}
	h.Typeflag, h.Size = tar.TypeReg, int64(i.Size)
	if err := s.header(h, i.Time); err != nil {
		return err
	}
	return s.fill(&reader{image: s.image, inode: i}, h.Size)
}

// A reader reads a file from its beginning.
type reader struct {
	image  *squashfs.Image
	inode  *squashfs.Inode
	offset uint64
	pieces [][]byte
}

// Read returns the next bytes of the file.
func (r *reader) Read(p []byte) (int, error) {
	if len(r.pieces) == 0 {
		var err error
		if r.pieces, err = r.image.ReadAt(r.inode, r.offset, bufferSize); err != nil {
			return 0, err
		}
		if len(r.pieces) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, r.pieces[0])
	r.offset += uint64(n)
	if r.pieces[0] = r.pieces[0][n:]; len(r.pieces[0]) == 0 {
		r.pieces = r.pieces[1:]
	}
	return n, nil
}
