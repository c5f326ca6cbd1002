// Package rootfs writes root file systems, as a directory or as one squashfs file.
package rootfs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/layers"
)

// A Tree writes a root file system as a directory that the caller owns. Devices, setuid and
// setgid bits and other owners are left out and counted in Lost. Nobody else may write to
// the tree, and its owner can read and remove everything in it.
type Tree struct {
	Lost  map[string]int64
	Bytes int64 // of all files

	parent *os.Root // the directory that the tree lies in
	name   string
	list   *os.File // the list of members; see Verify
	out    *bufio.Writer
	root   *os.Root

	dir   string // the directory that the last file was written to
	open  *os.Root
	buf   []byte
	hasNo bool // the file system has no extended attributes
}

// NewTree returns a writer of the directory called name in parent, which also writes a list of
// members to list.
func NewTree(parent *os.Root, name string, list *os.File) *Tree {
	return &Tree{parent: parent, name: name, list: list, buf: make([]byte, holeSize*8)}
}

// Begin makes the directory, and replaces it if it exists.
func (t *Tree) Begin() error {
	t.Close()
	t.Lost, t.Bytes = map[string]int64{}, 0
	if err := Remove(t.parent, t.name); err != nil {
		return err
	}
	if err := t.parent.Mkdir(t.name, 0o755); err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	if err := t.list.Truncate(0); err != nil {
		return fmt.Errorf("write list of members: %w", err)
	}
	if _, err := t.list.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("write list of members: %w", err)
	}
	t.out = bufio.NewWriterSize(t.list, 1<<16)
	root, err := t.parent.OpenRoot(t.name)
	if err != nil {
		return fmt.Errorf("open tree: %w", err)
	}
	t.root = root
	return nil
}

// Close closes the directory; its content stays.
func (t *Tree) Close() {
	for _, r := range []**os.Root{&t.open, &t.root} {
		if *r != nil {
			_ = (*r).Close()
			*r = nil
		}
	}
	t.dir = ""
}

// Finish syncs everything to disk.
func (t *Tree) Finish() error {
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("write list of members: %w", err)
	}
	dir, err := t.root.Open(".")
	if err != nil {
		return fmt.Errorf("open tree: %w", err)
	}
	defer dir.Close()
	// The umask may have changed the root's mode.
	if err := dir.Chmod(0o755); err != nil {
		return fmt.Errorf("change mode of tree: %w", err)
	}
	// Sync the whole file system at once: fsync for each of 40,000 files takes minutes.
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("sync tree: %w", err)
	}
	return nil
}

// in returns the directory that the path lies in, and the last element of the path. It makes
// the directory if it is missing.
func (t *Tree) in(path string) (*os.Root, string, error) {
	dir, name := ".", path
	if at := strings.LastIndexByte(path, '/'); at >= 0 {
		dir, name = path[:at], path[at+1:]
	}
	if t.open != nil && t.dir == dir {
		return t.open, name, nil
	}
	if err := t.root.MkdirAll(dir, 0o755); err != nil {
		return nil, "", err
	}
	open, err := t.root.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	if t.open != nil {
		_ = t.open.Close()
	}
	t.open, t.dir = open, dir
	return open, name, nil
}

// File writes a file; blocks of zeros become holes.
func (t *Tree) File(m layers.Member, content io.Reader) error {
	dir, name, err := t.in(m.Path)
	if err != nil {
		return err
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	size, err := t.fill(f, io.TeeReader(content, sum))
	if err == nil && size != m.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = t.dress(f, &m)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	t.Bytes += size
	return t.note(entry{Kind: "file", Path: m.Path, Mode: m.Mode, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))})
}

const holeSize = 1 << 15

func (t *Tree) fill(f *os.File, content io.Reader) (size int64, err error) {
	zeros := make([]byte, holeSize)
	for {
		n, err := io.ReadFull(content, t.buf)
		for at := 0; at < n; at += holeSize {
			piece := t.buf[at:min(at+holeSize, n)]
			if len(piece) == holeSize && bytes.Equal(piece, zeros) {
				continue
			}
			if _, err := f.WriteAt(piece, size+int64(at)); err != nil {
				return size, err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, f.Truncate(size)
		}
		if err != nil {
			return size, err
		}
	}
}

// dress sets the attributes, times and mode of a file or directory, as far as a tree keeps
// them, and sets m.Mode to the resulting mode.
func (t *Tree) dress(f *os.File, m *layers.Member) error {
	for name, value := range m.Xattrs {
		if t.hasNo {
			t.Lost["extended attributes"]++
			continue
		}
		switch err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); {
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM):
			t.hasNo = true
			t.Lost["extended attributes"]++
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE):
			t.Lost["extended attributes"]++
		case err != nil:
			return err
		}
	}
	m.Mode = t.mode(m)
	if err := f.Chmod(os.FileMode(m.Mode)); err != nil {
		return err
	}
	// Futimes takes microseconds, which is enough: the times are whole seconds.
	at := unix.NsecToTimeval(m.ModTime.UnixNano())
	if m.ModTime.IsZero() {
		at = unix.Timeval{}
	}
	return unix.Futimes(int(f.Fd()), []unix.Timeval{at, at})
}

func (t *Tree) mode(m *layers.Member) uint32 {
	if m.UID != 0 || m.GID != 0 {
		t.Lost["owners"]++
	}
	if m.Mode&0o6000 != 0 {
		t.Lost["setuid or setgid"]++
	}
	if m.Mode&0o022 != 0 {
		t.Lost["writable by others"]++
	}
	mode := m.Mode&0o755 | 0o600
	if m.Kind == layers.Directory || m.Mode&0o111 != 0 {
		mode |= 0o100
	}
	return mode
}

// Link makes another name for a file.
func (t *Tree) Link(path, file string) error {
	if _, _, err := t.in(path); err != nil { // makes its directory
		return err
	}
	if err := t.root.Link(file, path); err != nil {
		return err
	}
	return t.note(entry{Kind: "link", Path: path, Target: file})
}

// Other makes symbolic links and fifos; devices are left out.
func (t *Tree) Other(m layers.Member) error {
	dir, name, err := t.in(m.Path)
	if err != nil {
		return err
	}
	switch m.Kind {
	case layers.Symlink:
		if err := dir.Symlink(m.Target, name); err != nil {
			return err
		}
		return t.note(entry{Kind: "symlink", Path: m.Path, Target: m.Target})
	case layers.Fifo:
		parent, err := dir.Open(".")
		if err != nil {
			return err
		}
		defer parent.Close()
		mode := t.mode(&m)
		if err := unix.Mkfifoat(int(parent.Fd()), name, mode); err != nil {
			return err
		}
		return t.note(entry{Kind: "fifo", Path: m.Path})
	}
	t.Lost["devices"]++
	return nil
}

// Directory sets the mode and time of a directory, once everything in it has been written.
func (t *Tree) Directory(m layers.Member) error {
	dir, _, err := t.in(m.Path + "/")
	if err != nil {
		return err
	}
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.dress(f, &m); err != nil {
		return err
	}
	return t.note(entry{Kind: "directory", Path: m.Path, Mode: m.Mode})
}
