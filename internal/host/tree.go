// Package host is a read-only view of a host, or of an image: the files below one
// directory. No path leads out of it: symbolic links are followed as if that directory
// were the root. Reads are bounded, and neither a pipe nor a device is ever opened,
// except in a Trusted Directory.
package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// MaxFile bounds the size of a file for ReadFile, in bytes.
const MaxFile = 8 << 20

// ErrTooLarge means that a file has more than MaxFile bytes.
var ErrTooLarge = errors.New("file is too large")

// ErrNotRegular means that a path leads to something other than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// A Tree is such a view. All paths given to its methods are absolute paths in the view.
type Tree struct {
	root   string
	dir    *os.File // of the root; nil for the host's own
	prober Prober
}

// Open returns the view below root, "/" for this host. The prober describes devices;
// nil asks the kernel.
func Open(root string, p Prober) (*Tree, error) {
	root = filepath.Clean(root)
	if p == nil {
		p = Kernel{}
	}
	full, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	if full == "/" {
		return &Tree{root: full, prober: p}, nil
	}
	dir, err := os.OpenFile(full, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	return &Tree{root: full, dir: dir, prober: p}, nil
}

// Close closes everything that the view holds open.
func (t *Tree) Close() {
	if t.dir != nil {
		t.dir.Close()
	}
}

// Sub returns the view below a directory of this one.
func (t *Tree) Sub(dir string) (*Tree, error) {
	resolved, err := t.Resolve(dir)
	if err != nil {
		return nil, err
	}
	return Open(t.HostPath(resolved), t.prober)
}

// HostPath returns the path on the host for a path in the view without links, such as
// Resolve returns.
func (t *Tree) HostPath(path string) string {
	switch {
	case t.dir == nil && filepath.IsAbs(path):
		return filepath.Clean(path) // mostly returns the same string
	case path == "/":
		return t.root
	case filepath.IsAbs(path):
		return t.root + filepath.Clean(path)
	}
	return filepath.Join(t.root, path)
}

// Resolve returns the path in the view that path leads to, without links.
func (t *Tree) Resolve(path string) (string, error) {
	if t.dir == nil {
		resolved, err := filepath.EvalSymlinks(path)
		return resolved, err
	}
	f, err := t.handle(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return t.inside(int(f.Fd()), path)
}

// File is Resolve for a regular file.
func (t *Tree) File(path string) (string, error) {
	f, err := t.handle(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "find", Path: path, Err: ErrNotRegular}
	}
	return t.inside(int(f.Fd()), path)
}

// inside asks the kernel for the path of an open file in the view.
func (t *Tree) inside(fd int, path string) (string, error) {
	full, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil || t.root == "/" {
		return full, err
	}
	if full == t.root {
		return "/", nil
	}
	inside, ok := strings.CutPrefix(full, t.root+"/")
	if !ok {
		return "", &fs.PathError{Op: "resolve", Path: path, Err: fs.ErrNotExist} // renamed in the meantime
	}
	return "/" + inside, nil
}

// handle opens path with O_PATH, without opening the file.
func (t *Tree) handle(path string) (*os.File, error) {
	fd, err := t.handleFD(path)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// handleFD is handle for callers that close it at once.
func (t *Tree) handleFD(path string) (int, error) {
	if t.dir == nil {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range maxTries {
		fd, err := openat2(int(t.dir.Fd()), path, &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EAGAIN): // a rename somewhere interfered
		case errors.Is(err, unix.ENOSYS):
			return t.handleWithout(path)
		default:
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	return -1, &fs.PathError{Op: "open", Path: path, Err: unix.EAGAIN}
}

// handleWithout is handle for kernels without openat2.
func (t *Tree) handleWithout(path string) (int, error) {
	f, err := pathrs.OpenatInRoot(t.dir, path)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

const maxTries = 128

// openat2 is the system call; a test replaces it to act like a kernel before 5.6.
var openat2 = unix.Openat2

// OpenFile opens a regular file for reading.
func (t *Tree) OpenFile(path string) (*os.File, error) {
	h, err := t.handle(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	return reopen(h, unix.O_RDONLY)
}

// reopen opens the file of an O_PATH handle.
func reopen(h *os.File, flags int) (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", h.Fd()), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// ReadFile reads a regular file of at most MaxFile bytes.
func (t *Tree) ReadFile(path string) ([]byte, error) {
	f, err := t.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// Files of the kernel have size 0; most others are read in one call.
	var size int64
	if info, err := f.Stat(); err == nil {
		size = min(info.Size(), MaxFile)
	}
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, MaxFile+1)); err != nil {
		return nil, err
	}
	if data.Len() > MaxFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	return data.Bytes(), nil
}

// ReadLine returns the content of a file with one line, without the newline; empty if
// there is no such file.
func (t *Tree) ReadLine(path string) string {
	data, err := t.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

// Names lists the names in a directory, in no order; nil if it is not a directory.
func (t *Tree) Names(dir string) []string {
	d := t.directory(dir)
	if d == nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	return names
}

// Entries is Names with the type of each entry, in no order.
func (t *Tree) Entries(dir string) []fs.DirEntry {
	d := t.directory(dir)
	if d == nil {
		return nil
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil
	}
	return entries
}

// directory opens a directory for listing; nil if it is not a directory.
func (t *Tree) directory(path string) *os.File {
	h, err := t.handle(path)
	if err != nil {
		return nil
	}
	defer h.Close()
	if info, err := h.Stat(); err != nil || !info.IsDir() {
		return nil
	}
	d, err := reopen(h, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	return d
}

// Readlink returns the target of the symbolic link at path. Links on the way to it are
// followed.
func (t *Tree) Readlink(path string) (string, error) {
	dir, err := t.handleFD(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, filepath.Base(path), buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(buf[:n]), nil
}

// Exists reports whether path leads to something.
func (t *Tree) Exists(path string) bool {
	_, err := t.stat(path)
	return err == nil
}

// IsDir reports whether path leads to a directory.
func (t *Tree) IsDir(path string) bool {
	info, err := t.stat(path)
	return err == nil && info.IsDir()
}

// IsFile reports whether path leads to a regular file.
func (t *Tree) IsFile(path string) bool {
	info, err := t.stat(path)
	return err == nil && info.Mode().IsRegular()
}

// ModTime returns when the file at path was last changed; zero if it does not exist.
func (t *Tree) ModTime(path string) time.Time {
	info, err := t.stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (t *Tree) stat(path string) (os.FileInfo, error) {
	if t.dir == nil {
		return os.Stat(path)
	}
	h, err := t.handle(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return h.Stat()
}

// An Identity identifies a version of a file or directory: it changes when the content
// changes, or when another file takes the place.
type Identity struct {
	Dev, Ino uint64
	Size     int64
	Changed  int64 // last change of content, in nanoseconds since 1970
}

// Identity returns the identity of the file that path leads to.
func (t *Tree) Identity(path string) (Identity, error) {
	var st unix.Stat_t
	if t.dir == nil {
		if err := unix.Stat(path, &st); err != nil {
			return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		return identity(&st), nil
	}
	h, err := t.handleFD(path)
	if err != nil {
		return Identity{}, err
	}
	defer unix.Close(h)
	if err := unix.Fstat(h, &st); err != nil {
		return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identity(&st), nil
}

// PlainIdentity is Identity for a path without links. It costs a third; if the path has
// a link by now, the result may be another file's.
func (t *Tree) PlainIdentity(path string) (Identity, error) {
	var st unix.Stat_t
	from, relative := t.plain(path)
	if err := unix.Fstatat(from, relative, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identity(&st), nil
}

// plain returns a path without links in the form that system calls need.
func (t *Tree) plain(path string) (dir int, relative string) {
	if t.dir == nil {
		return unix.AT_FDCWD, path
	}
	return int(t.dir.Fd()), "." + path
}

func identity(st *unix.Stat_t) Identity {
	return Identity{Dev: st.Dev, Ino: st.Ino, Size: st.Size, Changed: st.Mtim.Nano()}
}
