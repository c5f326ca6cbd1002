package inplace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maskPath hides a file behind the null device, a directory behind an empty one
// (config-linux.md, Masked Paths). What is not there needs no mask.
func (r *root) maskPath(path string) error {
	target, err := r.open(path)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	defer target.Close()
	info, err := target.Stat()
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	if info.IsDir() {
		err = unix.Mount("tmpfs", selfFD(target), "tmpfs", unix.MS_RDONLY, "nr_inodes=1,size=4k")
	} else {
		err = r.bindNull(target)
	}
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	return nil
}

func absent(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// bindNull binds the node's null device, and makes sure that it is one
// (CVE-2025-31133).
func (r *root) bindNull(target *os.File) error {
	null, err := openPath(unix.AT_FDCWD, os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(null.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return fmt.Errorf("%s is not the null device", os.DevNull)
	}
	return unix.Mount(selfFD(null), selfFD(target), "", unix.MS_BIND, "")
}

// makeReadonly makes a path read-only (config-linux.md, Readonly Paths): it is
// bound over itself, so that the mount it lies on stays as it is.
func (r *root) makeReadonly(path string) error {
	target, err := r.open(path)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	defer target.Close()
	if err := unix.Mount(selfFD(target), selfFD(target), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	mounted, err := r.open(path)
	if err != nil {
		return fmt.Errorf("make %s read-only: find it again: %w", path, err)
	}
	defer mounted.Close()
	if err := remountWith(mounted, unix.MS_RDONLY); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

// makeRootReadonly does so for the root itself, and not for what is mounted in it.
func (r *root) makeRootReadonly() error {
	err := restrict(r.fd, mount{Flags: unix.MS_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		err = remountWith(r.fd, unix.MS_RDONLY)
	}
	if err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return nil
}
