package inplace

import (
	"errors"
	"os"
	"strconv"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// A descriptor is an open file, as the kernel numbers it. Those of package os ask
// the kernel what they are each time: that costs more than the work here.
type descriptor int

func (d descriptor) close() { _ = unix.Close(int(d)) }

// path names what the descriptor stands for, to system calls that want a path. The
// node's /proc is in place until the root is entered.
func (d descriptor) path() string { return "/proc/self/fd/" + strconv.Itoa(int(d)) }

func (d descriptor) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	return st, unix.Fstat(int(d), &st)
}

// openPath opens a place on the node, without looking into it.
func openPath(path string) (descriptor, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	return descriptor(fd), err
}

// OpenIn opens, without looking into it, what the path leads to as if the root were
// /: whatever links there are, it never leads out. The caller closes it.
func OpenIn(root int, path string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range 128 {
		fd, err := openat2(root, path, &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EAGAIN): // a rename somewhere made it unsure
		case errors.Is(err, unix.ENOSYS):
			return openByWalking(root, path)
		default:
			return -1, err
		}
	}
	return -1, unix.EAGAIN
}

// KindIn is the kind of what is at the path in the root (S_IFMT), where no link is on the way
// or there: one system call for what is so in most images.
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

// openat2 is the system call, or the lack of it in a test: kernels before 5.6.
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
