package runtime

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// OnlyRoots reports whether every directory on the way of the path, and the file at its
// end, belongs to root and is not on a file system that a user may have mounted. It asks no
// file system for anything, since a user's may never answer; in doubt the result is false.
// For a path that does not exist it judges the part that does.
func OnlyRoots(path string) bool {
	rest, err := namesFromRoot(path)
	if err != nil {
		return false
	}
	at, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { at.Close() }()
	for depth, links := 1, 0; len(rest) > 0; depth++ {
		name := rest[0]
		rest = rest[1:]
		var st unix.Statx_t
		const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC
		const fields = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_UID | unix.STATX_MNT_ID
		if err := unix.Statx(int(at.Fd()), name, flags, fields, &st); err != nil {
			return errors.Is(err, unix.ENOENT)
		}
		switch {
		case name == "..", st.Uid != 0, st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0:
			return false
		case depth > 1 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 && !inMemory(&st):
			return false // mounted over what may be a user's directory; nobody but root has one in /
		}
		next := filepath.Join(at.Name(), name)
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return false
			}
			if !filepath.IsAbs(target) {
				target = at.Name() + "/" + target
			}
			rest = append(names(target), rest...)
			next, depth = "/", 0
		}
		entered, err := os.OpenFile(next, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		at.Close()
		at = entered
	}
	return true
}

// inMemory reports whether the mount is a tmpfs. No user can mount one, and no program serves
// it, so it always answers. statfs(2) would ask the file system, mountinfo does not. Before
// Linux 5.8 the mount is unknown, and the result false.
func inMemory(root *unix.Statx_t) bool {
	if root.Mask&unix.STATX_MNT_ID == 0 {
		return false
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return false
	}
	id := strconv.AppendUint(nil, root.Mnt_id, 10)
	for line := range bytes.Lines(mounts) {
		before, after, _ := bytes.Cut(line, []byte(" - "))
		if first, _, _ := bytes.Cut(before, []byte(" ")); bytes.Equal(first, id) {
			kind, _, _ := bytes.Cut(after, []byte(" "))
			return string(kind) == "tmpfs"
		}
	}
	return false
}
