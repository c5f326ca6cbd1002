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
	Perm         uint32 // its mode's permission bits
	UID, GID     uint32 // its owner

	// Denied is why this process may not use it: EPERM when the device cgroup
	// forbids it, EACCES when its mode does; nil when it may.
	Denied error
}

// ErrNotDevice says that something is there that is no device.
var ErrNotDevice = errors.New("not a device node")

// A Prober says what lies at a path of the real file system, without opening
// it: opening a device may wake it, or rewind it.
type Prober interface {
	// Probe describes the node at path. Device.Denied says whether it could
	// be opened for reading, and for writing too when write is set. Without a
	// node the error is fs.ErrNotExist or ErrNotDevice.
	Probe(path string, write bool) (Device, error)
	// Readable tells whether what is at path, of any kind, could be opened for
	// reading.
	Readable(path string) bool
}

// Kernel is the Prober of real machines.
type Kernel struct{}

// Probe asks by faccessat2(2) with the effective ids. It answers EPERM for a
// node that the device cgroup denies. A kernel before 5.8 cannot say that, and
// every node that its mode allows counts as usable.
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

// Readable asks by faccessat2(2), too, and nothing else.
func (Kernel) Readable(path string) bool { return access(path, unix.R_OK) == nil }

// access is faccessat2(2). The wrapper of x/sys takes EPERM for a system call
// that a seccomp filter forbids, and goes by the mode: what a device cgroup
// denies would look allowed. Such a filter denies the root directory, too.
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

// Device describes a node that is to be read and written.
func (t *Tree) Device(path string) (Device, error) { return t.probe(path, true) }

// ReadOnlyDevice describes a node that is only to be read, as those are that
// stand for a capability.
func (t *Tree) ReadOnlyDevice(path string) (Device, error) { return t.probe(path, false) }

// Readable tells whether this process may open what is at a path, in which no link is
// expected, for reading.
func (t *Tree) Readable(path string) bool { return t.prober.Readable(t.HostPath(path)) }

func (t *Tree) probe(path string, write bool) (Device, error) {
	d, err := t.prober.Probe(t.HostPath(path), write)
	d.Path = path
	return d, err
}

// GroupName is the name of a group in /etc/group, empty when it is not there.
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
