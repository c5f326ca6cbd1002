package runtime

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"
)

// gaveUpRoot says that this process was root, and now works for a user. It still has root's
// cgroup, limits and priority, so it must not run programs that the user's state names.
var gaveUpRoot bool

// rootsKeyring is the error because of which this process still has root's session
// keyring; nil if it does not.
var rootsKeyring error

// BeganAsRoot reports whether this process is root, or was root before GiveUpRoot.
func BeganAsRoot() bool { return gaveUpRoot || os.Geteuid() == 0 }

// nobodysGroup takes the place of root's group, which is never kept.
const nobodysGroup = 65534

// safePath is the PATH of a process that was root, for programs of the host.
const safePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// GiveUpRoot makes this process the user's, for good. All ids become the user's; other
// groups and all capabilities are dropped; open files are not passed on to programs; and
// root's environment, signal mask and session keyring are replaced. It fails if any of this
// has no effect, except for the keyring: then mayLaunch fails, so that no program is started.
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
	// For this thread, the main one: it starts programs, or becomes one.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, new(unix.Sigset_t), nil); err != nil {
		return fmt.Errorf("become uid %d: unblock signals: %w", uid, err)
	}
	rootsKeyring = leaveKeyring()
	return nil
}

// CloseOnExec marks every open file but the standard streams to be closed when a program is
// executed.
func CloseOnExec() error {
	if err := utils.CloseExecFrom(3); err != nil {
		return fmt.Errorf("close descriptors on exec: %w", err)
	}
	return nil
}

// dropCapabilities drops all capabilities of this thread. A change of ids alone would leave
// the inheritable ones.
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

// leaveKeyring joins a new session keyring (session-keyring(7)), which is the user's. On a
// kernel without keyctl(2) there are no keyrings, and nothing to do.
func leaveKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) // without a name
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// mayLaunch returns an error if a program that we start would get root's session keyring.
func mayLaunch() error {
	if rootsKeyring != nil {
		return fmt.Errorf("leave root's session keyring: %w", rootsKeyring)
	}
	return nil
}
