package runtime

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/stateroot"
)

// IsRoot reports whether we are root of the host, or root of a user namespace that maps all
// users of the host to themselves, such as Slurm's namespace/linux, in which its cleanup
// calls us. In any other user namespace, files of the host's root belong to nobody.
func IsRoot() bool { return os.Geteuid() == 0 && process.HostIDs() }

// maxLinks is how many symbolic links are followed in a path at most, the kernel's limit.
const maxLinks = 40

// A spot is where a path leads, found by descriptors: a file is opened in the very
// directory that was checked.
type spot struct {
	dir  *os.File // the directory, O_PATH; nil if the path ends before it
	name string   // in dir; it need not exist
	// uid and gid are the owner of the first directory, link or file on the way that does
	// not belong to root, and so controls what the path leads to. If all do, it is root (0).
	uid, gid int
	// open is the first directory in which everybody may replace other users' files.
	open string
}

func (p *spot) close() {
	if p.dir != nil {
		p.dir.Close()
	}
}

// mustBeRoots returns an error if anybody but root controls what is at the spot.
func (p *spot) mustBeRoots(path string) error {
	switch {
	case p.uid != 0:
		return fmt.Errorf("%s: uid %d decides what lies there, so root does not write to it", path, p.uid)
	case p.open != "":
		return fmt.Errorf("%s is below %s, which everybody may write to, so root does not write there", path, p.open)
	case p.dir == nil:
		return &os.PathError{Op: "find directory of", Path: path, Err: unix.ENOENT}
	}
	return nil
}

// PathOwner returns the user who controls what is at the path: the owner of the first
// directory, link or file on the way that does not belong to root. It returns root (0) if
// all belong to root, or if the path ends before. For a path through a directory in which
// everybody may replace other users' files it returns stateroot.ErrUnsafe.
//
// Slurm runs its cleanup as root on the state of a user. The user may have written
// whatever root reads there, so root must become that user first, and must not follow the
// user's links. If root alone controls the path, nobody else can redirect it afterwards.
func PathOwner(path string) (uid, gid int, err error) {
	p, err := findSpot(path, true)
	if err != nil {
		return 0, 0, err
	}
	defer p.close()
	if p.uid == 0 && p.open != "" {
		return 0, 0, fmt.Errorf("%w %s: everybody may write to %s", stateroot.ErrUnsafe, path, p.open)
	}
	return p.uid, p.gid, nil
}

// PhysicalPath returns the path with links resolved, except for the last name, and without
// `..`. If root alone controls the way, both paths lead to the same file. A path that ends
// before its last name is returned unchanged, unless it has a `..` in it.
func PhysicalPath(path string) (string, error) {
	p, err := findSpot(path, false)
	if err != nil {
		return "", err
	}
	defer p.close()
	if p.dir != nil {
		return filepath.Join(p.dir.Name(), p.name), nil
	}
	if slices.Contains(names(path), "..") {
		return "", &os.PathError{Op: "find", Path: path, Err: unix.ENOENT}
	}
	return path, nil
}

// OpenLog opens a file for appending, and creates it if it does not exist. Root does not
// open a file that somebody else controls. A link at the end of the path is not followed,
// and opening a pipe does not wait for a reader. A path that names a descriptor from the
// caller, such as /dev/stderr, gives that descriptor.
func OpenLog(path string) (*os.File, error) {
	if n, found := CallersDescriptor(path); found {
		return duplicate(n, path)
	}
	const flags = unix.O_CREAT | unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	if !IsRoot() {
		return os.OpenFile(path, flags, 0o644)
	}
	p, err := findSpot(path, false)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.mustBeRoots(path); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(p.dir.Fd()), p.name, flags, 0o644)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Uid != 0 { // in a directory like /tmp
		f.Close()
		return nil, fmt.Errorf("%s belongs to uid %d, so root does not write to it", path, st.Uid)
	}
	return f, nil
}

// CallersDescriptor returns the number of this process's descriptor that the path names.
func CallersDescriptor(path string) (int, bool) {
	clean := filepath.Clean(path)
	if n := slices.Index([]string{"/dev/stdin", "/dev/stdout", "/dev/stderr"}, clean); n >= 0 {
		return n, true
	}
	dir, name := filepath.Split(clean)
	if dir != "/dev/fd/" && dir != "/proc/self/fd/" {
		return 0, false
	}
	n, err := strconv.Atoi(name)
	return n, err == nil && n >= 0
}

// duplicate duplicates the caller's descriptor n. Descriptors above 2 that are closed on
// exec are our own, and refused.
func duplicate(n int, path string) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
	if err == nil && n > 2 && flags&unix.FD_CLOEXEC != 0 {
		err = unix.EBADF
	}
	fd := -1
	if err == nil {
		fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openDirectory opens the directory of a file that is to be made. Root opens it only if
// nobody else controls it.
func openDirectory(path string) (*spot, error) {
	if IsRoot() {
		p, err := findSpot(path, false)
		if err == nil {
			err = p.mustBeRoots(path)
		}
		return p, err
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return &spot{dir: dir, name: filepath.Base(path)}, err
}

// dialSocket connects to the unix socket at the path. Root follows no other user's link: the
// socket may be a user's, but must be the one that was named.
func dialSocket(path, network string) (*net.UnixConn, error) {
	name := path
	if IsRoot() {
		fd, err := openWithoutForeignLinks(path)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: &net.UnixAddr{Name: path, Net: network}, Err: err}
		}
		defer unix.Close(fd)
		name = "/proc/self/fd/" + strconv.Itoa(fd)
	}
	return net.DialUnix(network, nil, &net.UnixAddr{Name: name, Net: network})
}

// openWithoutForeignLinks opens what the path leads to, with O_PATH, and fails at a link
// that is not root's.
func openWithoutForeignLinks(path string) (int, error) {
	dir, name, err := walkPath(path, true, func(_ string, st *unix.Stat_t, _ bool) error {
		if st.Mode&unix.S_IFMT == unix.S_IFLNK && st.Uid != 0 {
			return fmt.Errorf("root does not follow a link of uid %d: %w", st.Uid, unix.ELOOP)
		}
		return nil
	})
	if err != nil {
		return -1, err
	}
	if dir == nil {
		return -1, unix.ENOENT
	}
	defer dir.Close()
	return unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// findSpot walks to the spot, as far as root controls the way.
func findSpot(path string, followLast bool) (*spot, error) {
	p := new(spot)
	var err error
	p.dir, p.name, err = walkPath(path, followLast, func(at string, st *unix.Stat_t, last bool) error {
		if st.Uid != 0 {
			p.uid, p.gid = int(st.Uid), int(st.Gid)
			return errWalkEnds
		}
		if everybodys := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&(unix.S_IWOTH|unix.S_ISVTX) == unix.S_IWOTH; everybodys && !last && p.open == "" {
			p.open = at
		}
		return nil
	})
	if err != nil && !errors.Is(err, errWalkEnds) {
		return nil, &os.PathError{Op: "find owner of", Path: path, Err: err}
	}
	return p, nil
}
