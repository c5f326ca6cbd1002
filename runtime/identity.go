package runtime

import (
	"fmt"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"
)

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
