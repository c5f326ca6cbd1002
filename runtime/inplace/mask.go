package inplace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maskPath hides a file behind the null device, and a directory behind an empty one
// (config-linux.md, Masked Paths). A missing path needs no mask.
func (r *root) maskPath(path string) error {
	target, err := r.open(path)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	defer target.close()
	st, err := target.stat()
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = unix.Mount("tmpfs", target.path(), "tmpfs", unix.MS_RDONLY, "nr_inodes=1,size=4k")
	} else {
		err = r.bindNull(target)
	}
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	return nil
}

func absent(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// bindNull binds the host's null device, and checks that it is one (CVE-2025-31133).
func (r *root) bindNull(target descriptor) error {
	null, err := openPath(os.DevNull)
	if err != nil {
		return err
	}
	defer null.close()
	st, err := null.stat()
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return fmt.Errorf("%s is not the null device", os.DevNull)
	}
	return unix.Mount(null.path(), target.path(), "", unix.MS_BIND, "")
}

// makeReadonly makes a path read-only (config-linux.md, Readonly Paths). It binds the path over
// itself, so that the mount it is on does not change.
func (r *root) makeReadonly(path string) error {
	target, err := r.open(path)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	defer target.close()
	if err := unix.Mount(target.path(), target.path(), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	mounted, err := r.open(path)
	if err != nil {
		return fmt.Errorf("make %s read-only: find it again: %w", path, err)
	}
	defer mounted.close()
	if err := remountWith(mounted, unix.MS_RDONLY); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

// makeRootReadonly makes the root itself read-only, but not what is mounted in it.
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
