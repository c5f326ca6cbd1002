package inplace

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// A source is what a bind mount shows. It is opened before the root is mounted: afterwards its path
// may lead into the container.
type source struct {
	fd descriptor
	// tree says that fd is already a mount, attached nowhere yet.
	tree bool
}

// isFile reports whether the source is not a directory.
func (s source) isFile() bool {
	st, err := s.fd.stat()
	return err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR
}

// openSource makes a copy of the mount that the source is on, with the mounts below if m is
// recursive. Before kernel 5.2 it only opens the path. A source in the image is looked up within
// the image, since others may be writing there.
func openSource(m mount, imagePath string, image *root) (source, error) {
	var place descriptor
	var err error
	if below, found := strings.CutPrefix(m.Source, imagePath+"/"); found {
		place, err = image.open(below)
	} else {
		place, err = openPath(m.Source)
	}
	if err != nil {
		return source{}, err
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if m.recursive() {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := openTree(int(place), "", flags)
	if errors.Is(err, unix.ENOSYS) {
		return source{place, false}, nil
	}
	place.close()
	if err != nil {
		return source{}, err
	}
	return source{descriptor(fd), true}, nil
}

// bind mounts the source over the target. With the new mount API (5.2; mount_setattr 5.12) the
// copy, and the mounts below it, get their flags before anybody can see them.
func (r *root) bind(m mount, from source, target descriptor) error {
	if !from.tree {
		return r.bindByPath(m, from, target)
	}
	err := restrict(from.fd, m)
	late := errors.Is(err, unix.ENOSYS)
	if err != nil && !late {
		return err
	}
	err = unix.MoveMount(int(from.fd), "", int(target), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) && from.isFile() != (source{fd: target}).isFile() {
		return unix.ENOTDIR // as from mount(2)
	}
	if err != nil || !late {
		return err
	}
	return r.remount(m)
}

// openTree is a variable so that a test can act like a kernel before 5.2, which lacks it.
var openTree = unix.OpenTree

// mountSetattr is a variable so that a test can act like a kernel before 5.12, which lacks it.
var mountSetattr = unix.MountSetattr

// restrict gives a mount the flags of m, and also everything below it if m is recursive: in a
// read-only bind mount of a directory nothing is writable.
func restrict(tree descriptor, m mount) error {
	var attr unix.MountAttr
	for _, f := range []struct {
		flag uintptr
		attr uint64
	}{
		{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY},
		{unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID},
		{unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
	} {
		if m.Flags&f.flag != 0 {
			attr.Attr_set |= f.attr
		}
	}
	if attr.Attr_set == 0 {
		return nil
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if m.recursive() {
		flags |= unix.AT_RECURSIVE
	}
	return mountSetattr(int(tree), "", flags, &attr)
}

// bindByPath is bind for older kernels: mounts below the source keep their own flags.
func (r *root) bindByPath(m mount, from source, target descriptor) error {
	if err := unix.Mount(from.fd.path(), target.path(), "", unix.MS_BIND|m.Flags&unix.MS_REC, ""); err != nil {
		return err
	}
	return r.remount(m)
}

// remount adds the flags of m to an existing mount. It must repeat the flags that the mount has: in
// a user namespace none may be removed.
func (r *root) remount(m mount) error {
	added := m.Flags &^ (unix.MS_BIND | unix.MS_REC | unix.MS_RELATIME)
	if added == 0 {
		return nil
	}
	mounted, err := r.open(m.Target)
	if err != nil {
		return err
	}
	defer mounted.close()
	return remountWith(mounted, added)
}

func remountWith(mounted descriptor, added uintptr) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(mounted), &st); err != nil {
		return err
	}
	// ST_* of statfs(2) and MS_* have the same values, except for relatime.
	has := uintptr(st.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	if st.Flags&unix.ST_RELATIME != 0 {
		has |= unix.MS_RELATIME
	}
	return unix.Mount("", mounted.path(), "", unix.MS_BIND|unix.MS_REMOUNT|has|added, "")
}
