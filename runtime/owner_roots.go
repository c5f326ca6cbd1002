package runtime

import (
	"errors"
	"os"
	"path/filepath"

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
		if err := unix.Statx(int(at.Fd()), name, flags, unix.STATX_TYPE|unix.STATX_MODE|unix.STATX_UID, &st); err != nil {
			return errors.Is(err, unix.ENOENT)
		}
		switch {
		case name == "..", st.Uid != 0, st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0:
			return false
		case depth > 1 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0:
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
