package host

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Directory is an open directory of a view, from which libraries are found: a
// directory of plugins has a hundred, and resolving a path from the root takes longer
// than reading one.
type Directory struct {
	Path     string // in the view, without links
	Identity Identity

	// Trusted means that nobody can put pipes or devices there. Then files are opened
	// directly, and checked afterwards, which is faster.
	Trusted bool

	tree *Tree
	fd   int
}

// OpenDirectory opens a directory and follows the links of its path.
func (t *Tree) OpenDirectory(dir string) (*Directory, error) {
	fd, err := t.handleFD(dir)
	if err != nil {
		return nil, err
	}
	d := &Directory{tree: t, fd: fd}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = &fs.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	if err == nil {
		d.Path, err = t.inside(fd, dir)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	d.Identity = identity(&st)
	return d, nil
}

// OpenPlainDirectory is OpenDirectory for a path without links, like PlainIdentity.
func (t *Tree) OpenPlainDirectory(dir string) (*Directory, error) {
	from, relative := t.plain(dir)
	fd, err := unix.Openat(from, relative, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Directory{Path: dir, tree: t, fd: fd}, nil
}

// PlainIdentity is Tree.PlainIdentity for a name in the directory.
func (d *Directory) PlainIdentity(name string) (Identity, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Identity{}, &fs.PathError{Op: "stat", Path: d.below(name), Err: err}
	}
	return identity(&st), nil
}

// HasDirectory reports whether it contains a directory with that name, or a link to
// one.
func (d *Directory) HasDirectory(name string) bool {
	var st unix.Stat_t
	if unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return true
	case unix.S_IFLNK:
		return d.tree.IsDir(d.below(name))
	}
	return false
}

// Close closes the directory.
func (d *Directory) Close() { unix.Close(d.fd) }

// Names lists its names, in no order.
func (d *Directory) Names() []string {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), d.Path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	return names
}

// FindLibrary is Tree.FindLibrary for a name in the directory.
func (d *Directory) FindLibrary(name string) (Found, error) {
	// A name with a version is mostly a link to a file beside it.
	at, link := name, strings.Contains(name, ".so.")
	for range MostLinks {
		if at == "." || at == ".." || strings.Contains(at, "/") {
			break
		}
		if link {
			target, err := d.readlink(at)
			switch {
			case err == nil:
				at, link = target, false
				continue
			case !errors.Is(err, unix.EINVAL): // not a link
				return Found{}, &fs.PathError{Op: "readlink", Path: d.below(at), Err: err}
			}
		}
		var found Found
		var err error
		if found, link, err = d.findLibrary(at); !link {
			return found, err
		}
	}
	return d.tree.FindLibrary(d.below(name))
}

// MostLinks bounds how many links a path may lead through, as in the kernel.
const MostLinks = 40

// findLibrary reads a library, or reports that the name is a link.
func (d *Directory) findLibrary(name string) (found Found, link bool, err error) {
	h := handle{fd: -1, readable: d.Trusted}
	if d.Trusted {
		h.fd, err = unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ELOOP) {
			return found, true, nil
		}
	}
	if !d.Trusted || errors.Is(err, unix.EACCES) { // its mode may forbid reading
		h.readable = false
		h.fd, err = unix.Openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return found, false, &fs.PathError{Op: "open", Path: d.below(name), Err: err}
	}
	defer unix.Close(h.fd)
	switch err := unix.Fstat(h.fd, &h.st); {
	case err != nil:
		return found, false, &fs.PathError{Op: "stat", Path: d.below(name), Err: err}
	case h.st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return found, true, nil
	}
	found, err = h.found(d.below(name))
	return found, false, err
}

func (d *Directory) below(name string) string {
	if d.Path == "/" {
		return d.Path + name
	}
	return d.Path + "/" + name
}

func (d *Directory) readlink(name string) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, target)
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}

// Owner returns the owner of the file at the path; -1 if it does not exist.
func (t *Tree) Owner(path string) int {
	info, err := t.stat(path)
	if err != nil {
		return -1
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
