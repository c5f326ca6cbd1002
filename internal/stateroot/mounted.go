package stateroot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Every user can mount a file system of their own (FUSE) over a directory of theirs. In a directory
// that users share, they can do so at the path of another user's root. Such a file system shows any
// owner that its program chooses, responds when the program likes, or lets nobody else look at it.

// checkMount refuses such a file system, without asking it for anything.
func checkMount(root string) error {
	if !isShared(filepath.Dir(root)) {
		return nil
	}
	var st unix.Statx_t
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC
	err := unix.Statx(unix.AT_FDCWD, root, flags, unix.STATX_TYPE, &st)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOSYS):
		return nil // Lstat reports the reason
	case err != nil:
		return fmt.Errorf("%w %s: %w", ErrUnsafe, root, err)
	case st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0:
		return nil
	case ofAnybody(root):
		return fmt.Errorf("%w %s: a user has mounted a file system there", ErrUnsafe, root)
	}
	return nil
}

// ofAnybody reports whether the file system mounted at the path is of a type that every user can
// mount (proc(5), /proc/PID/mountinfo). Of several mounts the last one counts, since it is the
// visible one.
func ofAnybody(path string) bool {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return true
	}
	escaped := strings.NewReplacer("\\", `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(path)
	found := false
	for line := range bytes.Lines(data) {
		before, after, _ := strings.Cut(string(line), " - ")
		if fields := strings.Fields(before); len(fields) > 4 && fields[4] == escaped {
			found = strings.HasPrefix(after, "fuse")
		}
	}
	return found
}
