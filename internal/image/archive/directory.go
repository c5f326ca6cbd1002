package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

// Directory writes what is below a directory. Files of the owner of root belong to user 0 in the
// archive; other owners stay. Mount points become empty directories. Sockets and extended
// attributes are left out.
func Directory(ctx context.Context, out io.Writer, root *os.Root) error {
	return writeDirectory(ctx, out, root, false)
}

func writeDirectory(ctx context.Context, out io.Writer, root *os.Root, changes bool) error {
	d := &directory{writer: newWriter(ctx, out), changes: changes, links: map[uint64]string{}}
	info, err := root.Lstat(".")
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	d.device, d.owner, d.group = uint64(st.Dev), st.Uid, st.Gid //nolint:unconvert // other architectures have another type
	if err := d.members(root, ".", 0); err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	return d.tar.Close()
}

type directory struct {
	*writer
	changes      bool // it is what an overlay has changed
	device       uint64
	owner, group uint32
	links        map[uint64]string // the first name of each file with several names, by inode
}

// members writes the members of a directory, in the order of names.
func (d *directory) members(dir *os.Root, at string, depth int) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := d.member(dir, name, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) member(dir *os.Root, name, at string, depth int) error {
	if err := d.check(at, depth); err != nil {
		return err
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	if d.changes && isWhiteout(st) {
		return d.whiteout(path.Join(path.Dir(at), whiteoutPrefix+name), info.ModTime())
	}
	h := d.describe(at, st)
	switch info.Mode().Type() {
	case 0:
		return d.file(dir, name, h, st)
	case fs.ModeDir:
		return d.directory(dir, name, h, info, depth)
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = dir.Readlink(name); err != nil {
			return err
		}
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeDevice | fs.ModeCharDevice:
		h.Typeflag = tar.TypeChar
	case fs.ModeDevice:
		h.Typeflag = tar.TypeBlock
	default: // a socket is of no use without its server
		return nil
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return d.header(h, info.ModTime())
}

// describe makes a header with the attributes that all members have.
func (d *directory) describe(at string, st *syscall.Stat_t) *tar.Header {
	h := &tar.Header{Name: at, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), Format: tar.FormatPAX}
	if st.Uid == d.owner {
		h.Uid = 0
	}
	if st.Gid == d.group {
		h.Gid = 0
	}
	return h
}

func (d *directory) directory(dir *os.Root, name string, h *tar.Header, info fs.FileInfo, depth int) error {
	at := h.Name
	h.Typeflag = tar.TypeDir
	if err := d.header(h, info.ModTime()); err != nil {
		return err
	}
	if uint64(info.Sys().(*syscall.Stat_t).Dev) != d.device { //nolint:unconvert // other architectures have another type
		return nil
	}
	inner, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer inner.Close() //nolint:errcheck // only read from
	if d.changes {
		if err := d.opaque(inner, at, info.ModTime()); err != nil {
			return err
		}
	}
	return d.members(inner, at, depth+1)
}

func (d *directory) file(dir *os.Root, name string, h *tar.Header, st *syscall.Stat_t) error {
	id := st.Ino
	if first, seen := d.links[id]; seen && st.Nlink > 1 {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return d.header(h, timeOf(st))
	}
	// O_NONBLOCK: the file may have been replaced, for example by a fifo, where open would block.
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Ino != st.Ino {
		return fmt.Errorf("%s: it changed while it was read", text.Printable(h.Name))
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if st.Nlink > 1 {
		d.links[id] = strings.Clone(h.Name)
	}
	if err := d.header(h, info.ModTime()); err != nil {
		return err
	}
	if err := d.fill(f, h.Size); err != nil {
		return fmt.Errorf("%s: %w", text.Printable(h.Name), err)
	}
	return nil
}

func timeOf(st *syscall.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }
