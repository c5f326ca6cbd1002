package runtime

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"
)

// gaveUpRoot says that this process was root, and works for a user now. It has
// still root's surroundings: cgroup, limits, priority. So it must not run what
// the user's state asks for.
var gaveUpRoot bool

// rootsKeyring is why this process has root's session keyring still; nil where it has not.
var rootsKeyring error

// BeganAsRoot reports whether this process is root, or was and works for a user now.
func BeganAsRoot() bool { return gaveUpRoot || os.Geteuid() == 0 }

// nobodysGroup takes the place of root's group, which is never kept.
const nobodysGroup = 65534

// safePath is where the host's own programs are looked for in root's place.
const safePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// GiveUpRoot makes this process the user's for good: all ids become the user's, no other group and no
// capability is kept, no open file is passed on, and nothing of root's environment, signal
// mask and session keyring. It is an error when any of that did not take effect; that the
// keyring did not is one for what starts a program, see mayLaunch.
func GiveUpRoot(uid, gid int) error {
	if uid <= 0 || gid < 0 {
		return fmt.Errorf("become uid %d gid %d: both must be an ordinary user's", uid, gid)
	}
	if gid == 0 {
		gid = nobodysGroup
	}
	gaveUpRoot = true
	if err := CloseOnExec(); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	os.Clearenv()
	if err := os.Setenv("PATH", safePath); err != nil {
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
	if err := dropCapabilities(); err != nil {
		return fmt.Errorf("become uid %d: %w", uid, err)
	}
	// Of this thread, the main one: it is what starts programs, or becomes one.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, new(unix.Sigset_t), nil); err != nil {
		return fmt.Errorf("become uid %d: unblock signals: %w", uid, err)
	}
	rootsKeyring = leaveKeyring()
	return nil
}

// CloseOnExec keeps every open file but the standard streams from programs that are
// executed from here on.
func CloseOnExec() error {
	if err := utils.CloseExecFrom(3); err != nil {
		return fmt.Errorf("close descriptors on exec: %w", err)
	}
	return nil
}

// dropCapabilities leaves this thread none: the inheritable ones stay when ids change.
func dropCapabilities() error {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, set := range data {
		if set.Effective != 0 || set.Permitted != 0 || set.Inheritable != 0 {
			return errors.New("capabilities remain")
		}
	}
	return nil
}

// leaveKeyring begins a session keyring (session-keyring(7)) of the user's. Where there is
// no keyctl(2), nobody has one.
func leaveKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // without a name
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// mayLaunch refuses to start a program for a user with what is root's.
func mayLaunch() error {
	if rootsKeyring != nil {
		return fmt.Errorf("leave root's session keyring: %w", rootsKeyring)
	}
	return nil
}
