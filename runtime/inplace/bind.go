package inplace

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A source is what a bind mount shows, opened before the root is mounted: from then
// on its path may lead into the container.
type source struct {
	fd *os.File
	// tree says that fd is a mount already, that nobody sees yet.
	tree bool
}

// isFile tells whether the source is no directory.
func (s source) isFile() bool {
	info, err := s.fd.Stat()
	return err == nil && !info.IsDir()
}

// openSource makes a copy of the mount that the source lies on, with those below
// it where m is recursive. Before kernel 5.2 it only remembers the place. What is
// of the image is looked for within it: others may be writing there.
func openSource(m mount, image *root) (source, error) {
	var place *os.File
	var err error
	if below, found := strings.CutPrefix(m.Source, image.fd.Name()+"/"); found {
		place, err = image.open(below)
	} else {
		place, err = openPath(unix.AT_FDCWD, m.Source)
	}
	if err != nil {
		return source{}, err
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if m.recursive() {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := openTree(int(place.Fd()), "", flags)
	if errors.Is(err, unix.ENOSYS) {
		return source{place, false}, nil
	}
	place.Close()
	if err != nil {
		return source{}, err
	}
	return source{os.NewFile(uintptr(fd), m.Source), true}, nil
}

// bind mounts the source over the target. With the new mount API (5.2;
// mount_setattr 5.12) the copy gets its flags before anybody can see it, and those
// below it, too.
func (r *root) bind(m mount, from source, target *os.File) error {
	if !from.tree {
		return r.bindByPath(m, from, target)
	}
	err := restrict(from.fd, m)
	late := errors.Is(err, unix.ENOSYS)
	if err != nil && !late {
		return err
	}
	err = unix.MoveMount(int(from.fd.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil || !late {
		return err
	}
	return r.remount(m)
}

// openTree is the system call, or the lack of it in a test: kernels before 5.2.
var openTree = unix.OpenTree

// mountSetattr is the system call, or the lack of it in a test: kernels before
// 5.12.
var mountSetattr = unix.MountSetattr

// restrict gives a mount the flags of m, and everything below it where m is
// recursive: a read-only bind of a directory has nothing writable in it.
func restrict(tree *os.File, m mount) error {
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
	return mountSetattr(int(tree.Fd()), "", flags, &attr)
}

// bindByPath is bind for older kernels: what lies below the source keeps its own
// flags.
func (r *root) bindByPath(m mount, from source, target *os.File) error {
	if err := unix.Mount(selfFD(from.fd), selfFD(target), "", unix.MS_BIND|m.Flags&unix.MS_REC, ""); err != nil {
		return err
	}
	return r.remount(m)
}

// remount adds the flags of m to a mount that is in place. Those that it has must
// be given again: in a user namespace none of them may be taken away.
func (r *root) remount(m mount) error {
	added := m.Flags &^ (unix.MS_BIND | unix.MS_REC | unix.MS_RELATIME)
	if added == 0 {
		return nil
	}
	mounted, err := r.open(m.Target)
	if err != nil {
		return err
	}
	defer mounted.Close()
	return remountWith(mounted, added)
}

func remountWith(mounted *os.File, added uintptr) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(mounted.Fd()), &st); err != nil {
		return err
	}
	// ST_* of statfs(2) and MS_* are the same numbers, but for relatime.
	has := uintptr(st.Flags) & (unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	if st.Flags&unix.ST_RELATIME != 0 {
		has |= unix.MS_RELATIME
	}
	return unix.Mount("", selfFD(mounted), "", unix.MS_BIND|unix.MS_REMOUNT|has|added, "")
}
