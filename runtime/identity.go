package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"
)

// maxLinks bounds the symbolic links followed in a path, as the kernel does.
const maxLinks = 40

// PathOwner tells which user may decide what lies at the path: the owner of
// the first directory, symlink or file on the way that does not belong to
// root. Root itself (0) when there is none, or when the path ends before.
//
// Slurm runs its cleanup as root on the state of a user. Whatever root reads
// there the user may have written, so root must become that user first; and
// root must not follow a link that the user laid on the way.
func PathOwner(path string) (uid, gid int, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return 0, 0, fmt.Errorf("find owner of state directory: %w", err)
	}
	rest, at := strings.Split(path[1:], "/"), "/"
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		var st unix.Stat_t
		next := filepath.Join(at, name)
		if err := unix.Lstat(next, &st); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return 0, 0, nil
			}
			return 0, 0, &os.PathError{Op: "find owner of", Path: next, Err: err}
		}
		if st.Uid != 0 {
			return int(st.Uid), int(st.Gid), nil
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return 0, 0, &os.PathError{Op: "find owner of", Path: next, Err: unix.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return 0, 0, nil
}

// gaveUpRoot says that this process was root, and works for a user now. It has
// still root's surroundings: cgroup, limits, priority. So it must not run what
// the user's state asks for.
var gaveUpRoot bool

// nobodysGroup takes the place of root's group, which is never kept.
const nobodysGroup = 65534

// Become gives up root for good: all ids become the user's, no other group and
// no capability is kept, and no open file is passed on. It is an error when any
// of that did not take effect.
func Become(uid, gid int) error {
	if uid <= 0 || gid < 0 {
		return fmt.Errorf("become uid %d gid %d: both must be an ordinary user's", uid, gid)
	}
	if gid == 0 {
		gid = nobodysGroup
	}
	gaveUpRoot = true
	if err := utils.CloseExecFrom(3); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	// The syscall package's calls act on every thread of the process.
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("become uid %d: set groups: %w", uid, err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become uid %d: set gid %d: %w", uid, gid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("become uid %d: read capabilities: %w", uid, err)
	}
	for _, set := range data {
		if set.Effective != 0 || set.Permitted != 0 {
			return fmt.Errorf("become uid %d: capabilities remain", uid)
		}
	}
	return nil
}
