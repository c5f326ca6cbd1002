package image

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

// ErrUntrusted says that somebody who is not trusted can change a store, or the path that
// leads to it. That person could choose what its images run.
var ErrUntrusted = errors.New("not to be trusted")

// A Place is where a store may be.
type Place struct {
	Path string // absolute
	// Owners are the users, beside root, who may own the store: a service user for a site's
	// store, the user for the user's own.
	Owners []int
}

const linksMost = 40 // in the path of a store, as in Linux (path_resolution(7))

// A guard checks, by descriptor, who can change a file.
type guard struct{ owners []int }

func (g guard) owns(st *unix.Stat_t) bool {
	return st.Uid == 0 || slices.Contains(g.owners, int(st.Uid))
}

// trusts refuses a file that anyone but root and the owners owns or may write to.
func (g guard) trusts(st *unix.Stat_t, name string) error {
	if !g.owns(st) {
		return fmt.Errorf("%s: %w: it belongs to user %d", text.Printable(name), ErrUntrusted, st.Uid)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&0o022 != 0 {
		return fmt.Errorf("%s: %w: others may write to it (mode %04o)", text.Printable(name), ErrUntrusted, st.Mode&0o7777)
	}
	return nil
}

// follow opens the directory at an absolute path, component by component, and checks each.
// A directory that everyone may write to, such as /tmp, is accepted on the way if its sticky
// bit keeps others from replacing entries; a link in such a directory is not followed.
func (g guard) follow(at string) (*os.File, error) {
	if !path.IsAbs(at) {
		return nil, fmt.Errorf("open store %s: not an absolute path", text.Printable(at))
	}
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	var way []*os.File // the open directories from the root on
	back := func(to int) {
		for _, f := range way[to:] {
			f.Close()
		}
		way = way[:to]
	}
	defer func() { back(0) }()
	rest := append([]string{"/"}, strings.Split(at, "/")...)
	shared := map[*os.File]bool{} // others can make links there
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			back(max(1, len(way)-1))
			continue
		}
		dir := unix.AT_FDCWD
		if name == "/" {
			back(0)
		} else {
			dir = int(way[len(way)-1].Fd())
		}
		fd, err := unix.Openat(dir, name, flags, 0)
		if err != nil {
			return nil, fmt.Errorf("open store %s: %s: %w", text.Printable(at), text.Printable(name), err)
		}
		f := os.NewFile(uintptr(fd), name)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, errors.Join(fmt.Errorf("open store %s: %w", text.Printable(at), err), f.Close())
		}
		sticky := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0 && g.owns(&st)
		if err := g.trusts(&st, name); err != nil && (!sticky || len(rest) == 0) {
			return nil, errors.Join(fmt.Errorf("open store %s: %w", text.Printable(at), err), f.Close())
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			way = append(way, f)
			shared[f] = st.Mode&0o022 != 0
		case unix.S_IFLNK:
			target, err := readlink(fd)
			f.Close()
			if links++; err == nil && (shared[way[len(way)-1]] || links > linksMost) {
				err = fmt.Errorf("%s: %w: a link where others can make one", text.Printable(name), ErrUntrusted)
			}
			if err != nil {
				return nil, fmt.Errorf("open store %s: %w", text.Printable(at), err)
			}
			if path.IsAbs(target) {
				rest = append([]string{"/"}, append(strings.Split(target, "/"), rest...)...)
			} else {
				rest = append(strings.Split(target, "/"), rest...)
			}
		default:
			return nil, errors.Join(fmt.Errorf("open store %s: %s is not a directory", text.Printable(at), text.Printable(name)), f.Close())
		}
	}
	last := way[len(way)-1]
	// last has O_PATH; reopening "." gives a readable descriptor of the same directory.
	return openAt(last, ".", unix.O_RDONLY|unix.O_DIRECTORY)
}

func readlink(fd int) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}

func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), path.Join(dir.Name(), name)), nil
}

// open opens a file of a store, and checks its kind and who can change it.
func (g guard) open(dir *os.File, name string, flags int, kind uint32) (*os.File, *unix.Stat_t, error) {
	f, err := openAt(dir, name, flags)
	if err != nil {
		return nil, nil, err
	}
	st := new(unix.Stat_t)
	err = unix.Fstat(int(f.Fd()), st)
	if err == nil && st.Mode&unix.S_IFMT != kind {
		err = fmt.Errorf("%s: %w: it is of an unexpected kind", text.Printable(name), ErrUntrusted)
	}
	if err == nil {
		err = g.trusts(st, name)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}
