package inplace

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A root is the container's root file system under construction. Everything in it may be hostile,
// links above all, so no path in it is used as a string.
type root struct {
	fd descriptor

	// fresh lists the devices of the tmpfs mounted here. Mount points can be made in them, since
	// nobody else sees them.
	fresh []uint64
	// readonly lists mounts that become read-only once everything is mounted.
	readonly []string
}

// leaveHost makes our mounts a slave of the host's: ours stay private, the host's unmounts still
// reach us.
func leaveHost() error {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("leave the host's mounts: %w", err)
	}
	return nil
}

// mountRoot makes the rootfs a mount.
func mountRoot(rootfs string) (*root, error) {
	if err := unix.Mount(rootfs, rootfs, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return nil, fmt.Errorf("mount rootfs %s: %w", rootfs, err)
	}
	fd, err := openPath(rootfs)
	if err != nil {
		return nil, fmt.Errorf("open rootfs %s: %w", rootfs, err)
	}
	return &root{fd: fd}, nil
}

// open finds what the path leads to within the root, as if the root were /.
func (r *root) open(path string) (descriptor, error) {
	fd, err := OpenIn(int(r.fd), path)
	return descriptor(fd), err
}

// attach makes one of the task's mounts. from is the source of a bind mount.
func (r *root) attach(m mount, from source) error {
	if err := r.mustBePlain(m.Target); err != nil {
		return err
	}
	target, err := r.open(m.Target)
	if err == nil && m.Type == "tmpfs" {
		m.Data = tmpfsMode(m.Data, target)
	}
	if absent(err) {
		target, err = r.makeTarget(m.Target, m.isBind() && from.isFile())
	}
	if err != nil {
		return fmt.Errorf("mount %s: find it in the image: %w", m.Target, err)
	}
	defer target.close()
	switch {
	case m.isBind():
		err = r.bind(m, from, target)
	case m.Type == "tmpfs":
		err = r.mountTmpfs(m, target)
	default:
		err = unix.Mount(m.Source, target.path(), m.Type, m.Flags, m.Data)
	}
	if err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.name(), m.Target, m.reason(err))
	}
	return r.propagate(m)
}

// mountTmpfs mounts a tmpfs that stays writable for mount points until everything is mounted.
func (r *root) mountTmpfs(m mount, target descriptor) error {
	if err := unix.Mount(m.Source, target.path(), m.Type, m.Flags&^unix.MS_RDONLY, m.Data); err != nil {
		return err
	}
	if m.Flags&unix.MS_RDONLY != 0 {
		r.readonly = append(r.readonly, m.Target)
	}
	mounted, err := r.open(m.Target)
	if err != nil {
		return err
	}
	defer mounted.close()
	st, err := mounted.stat()
	if err != nil {
		return err
	}
	r.fresh = append(r.fresh, st.Dev)
	return nil
}

// seal makes the mounts in readonly read-only.
func (r *root) seal() error {
	for _, target := range r.readonly {
		mounted, err := r.open(target)
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", target, err)
		}
		err = remountWith(mounted, unix.MS_RDONLY)
		mounted.close()
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", target, err)
		}
	}
	return nil
}

// mustBePlain refuses an image in which the place of a kernel file system is a link: the file
// system would not be where everybody looks for it (CVE-2019-19921).
func (r *root) mustBePlain(target string) error {
	switch path.Clean(target) {
	case "/proc", "/sys", "/dev":
	default:
		return nil
	}
	var st unix.Stat_t
	err := unix.Fstatat(int(r.fd), path.Clean(target)[1:], &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("mount %s: it needs an ordinary directory, but the image has something else there", target)
	}
	return nil
}

// reason names the wrong option, or all of them if the kernel does not say which one is wrong.
func (m mount) reason(err error) error {
	if m.isBind() || m.Data == "" {
		return err
	}
	if wrong := WrongTmpfsOption(strings.Split(m.Data, ",")); m.Type == "tmpfs" && wrong != "" && errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("option %s: %w", wrong, err)
	}
	return fmt.Errorf("options %q: %w", m.Data, err)
}

// name says what is mounted, for people.
func (m mount) name() string {
	if m.isBind() {
		return m.Source
	}
	return m.Type
}

func (r *root) propagate(m mount) error {
	if len(m.Propagation) == 0 {
		return nil
	}
	mounted, err := r.open(m.Target)
	if err != nil {
		return fmt.Errorf("mount %s: find it again: %w", m.Target, err)
	}
	defer mounted.close()
	for _, p := range m.Propagation {
		if err := unix.Mount("", mounted.path(), "", p, ""); err != nil {
			return fmt.Errorf("mount %s: set propagation: %w", m.Target, err)
		}
	}
	return nil
}

// enter makes the root the process's own, and the host's unreachable.
func (r *root) enter() error {
	if err := unix.Fchdir(int(r.fd)); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("enter root: pivot_root: %w", err)
	}
	// The host's root is now mounted over ours, at the same place.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("enter root: leave the host's: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	return nil
}
