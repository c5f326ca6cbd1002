package host

import (
	"errors"
	"io/fs"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Device is a device node.
type Device struct {
	Path         string // in the view
	Type         string // "c" or "b", as in config-linux.md
	Major, Minor int64
	Perm         uint32 // permission bits of its mode
	UID, GID     uint32 // its owner

	// Denied is why this process may not use it: EPERM if the device cgroup denies it,
	// EACCES if its mode does; nil if it may.
	Denied error
}

// ErrNotDevice means that the path leads to something other than a device node.
var ErrNotDevice = errors.New("not a device node")

// A Prober describes what is at a path of the real file system without opening it:
// opening a device may wake it, or rewind it.
type Prober interface {
	// Probe describes the device node at path. Device.Denied says whether it could be
	// opened for reading, and also for writing if write is set. If there is no device
	// node, the error is fs.ErrNotExist or ErrNotDevice.
	Probe(path string, write bool) (Device, error)
	// Readable reports whether the file at path, of any type, could be opened for
	// reading.
	Readable(path string) bool
}

// Kernel is the Prober that asks the kernel.
type Kernel struct{}

// Probe uses faccessat2(2) with the effective ids, which returns EPERM for a device
// node that the device cgroup denies. A kernel before 5.8 cannot report that, and every
// device node that its mode permits counts as usable.
func (Kernel) Probe(path string, write bool) (Device, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Device{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	d := Device{
		Path:  path,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		Perm: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		d.Type = "c"
	case unix.S_IFBLK:
		d.Type = "b"
	default:
		return Device{}, &fs.PathError{Op: "probe", Path: path, Err: ErrNotDevice}
	}
	mode := uint32(unix.R_OK)
	if write {
		mode |= unix.W_OK
	}
	d.Denied = access(path, mode)
	return d, nil
}

// Readable uses only faccessat2(2).
func (Kernel) Readable(path string) bool { return access(path, unix.R_OK) == nil }

// access is faccessat2(2). The wrapper of x/sys takes EPERM for a seccomp filter that
// forbids the system call, and falls back to the mode: what a device cgroup denies
// would look allowed. A seccomp filter is recognised by EPERM for the root directory.
func access(path string, mode uint32) error {
	err := faccessat2(path, mode)
	forbidden := errors.Is(err, unix.EPERM) && errors.Is(faccessat2("/", unix.F_OK), unix.EPERM)
	if forbidden || errors.Is(err, unix.ENOSYS) {
		return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	}
	return err
}

// faccessat2 is the system call, with the effective ids.
func faccessat2(path string, mode uint32) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	dir := unix.AT_FDCWD
	_, _, errno := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(mode), unix.AT_EACCESS, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Device describes a device node that is read and written.
func (t *Tree) Device(path string) (Device, error) { return t.probe(path, true) }

// ReadOnlyDevice describes a device node that is only read, such as one that stands for
// a capability.
func (t *Tree) ReadOnlyDevice(path string) (Device, error) { return t.probe(path, false) }

// Readable reports whether this process may open the file at a path without links for
// reading.
func (t *Tree) Readable(path string) bool { return t.prober.Readable(t.HostPath(path)) }

func (t *Tree) probe(path string, write bool) (Device, error) {
	d, err := t.prober.Probe(t.HostPath(path), write)
	d.Path = path
	return d, err
}

// GroupName returns the name of a group in /etc/group; empty if it is not there.
func (t *Tree) GroupName(gid string) string {
	data, err := t.ReadFile("/etc/group")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(line, ":")
		if len(fields) >= 3 && fields[2] == gid {
			return fields[0]
		}
	}
	return ""
}
