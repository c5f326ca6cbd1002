package inplace

import (
	"errors"
	"os"
	"strconv"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// A descriptor is an open file, by its number. Files of package os would ask the kernel each time
// what they are, which costs more than the work here.
type descriptor int

func (d descriptor) close() { _ = unix.Close(int(d)) }

// path returns a path to the open file, for system calls that take a path. The host's /proc is
// available until the root is entered.
func (d descriptor) path() string { return "/proc/self/fd/" + strconv.Itoa(int(d)) }

func (d descriptor) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	return st, unix.Fstat(int(d), &st)
}

// openPath opens a path on the host, without access to its content (O_PATH).
func openPath(path string) (descriptor, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	return descriptor(fd), err
}

// OpenIn opens what the path leads to as if the root were /, without access to its content
// (O_PATH). No link leads out of the root. The caller closes the descriptor.
func OpenIn(root int, path string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range 128 {
		fd, err := openat2(root, path, &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EAGAIN): // a rename somewhere made the result unsafe
		case errors.Is(err, unix.ENOSYS):
			return openByWalking(root, path)
		default:
			return -1, err
		}
	}
	return -1, unix.EAGAIN
}

// KindIn returns the file type (S_IFMT) of the path in the root, if neither the path nor a
// directory on the way is a link. In most images that is so, and takes one system call.
func KindIn(root int, path string) (kind uint32, ok bool) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
	fd, err := openat2(root, path, &how)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0, false
	}
	return st.Mode & unix.S_IFMT, true
}

// openat2 is a variable so that a test can act like a kernel before 5.6, which lacks it.
var openat2 = unix.Openat2

// openByWalking is OpenIn for older kernels.
func openByWalking(root int, path string) (int, error) {
	own, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	dir := os.NewFile(uintptr(own), "root")
	defer dir.Close()
	f, err := pathrs.OpenatInRoot(dir, path)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}
