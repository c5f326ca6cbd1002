package inplace

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilities holds the five sets (capabilities(7)), with a bit for each capability.
type capabilities struct {
	Bounding    uint64 `json:"bounding,omitempty"`
	Effective   uint64 `json:"effective,omitempty"`
	Permitted   uint64 `json:"permitted,omitempty"`
	Inheritable uint64 `json:"inheritable,omitempty"`
	Ambient     uint64 `json:"ambient,omitempty"`
}

// capabilityNames are the names in linux/capability.h, in order.
const capabilityNames = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE " +
	"NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE " +
	"SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL " +
	"SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

// newCapabilities converts the names to sets; nil means empty sets.
func newCapabilities(c *specs.LinuxCapabilities) (capabilities, error) {
	var sets capabilities
	if c == nil {
		return sets, nil
	}
	for _, s := range []struct {
		to    *uint64
		names []string
	}{
		{&sets.Bounding, c.Bounding},
		{&sets.Effective, c.Effective},
		{&sets.Permitted, c.Permitted},
		{&sets.Inheritable, c.Inheritable},
		{&sets.Ambient, c.Ambient},
	} {
		for _, name := range s.names {
			bit, known := CapabilityBit(name)
			if !known {
				return sets, fmt.Errorf("unknown %q", name)
			}
			*s.to |= bit
		}
	}
	return sets, nil
}

// CapabilityBit returns the bit for a name, such as CAP_KILL, in a set.
func CapabilityBit(name string) (uint64, bool) {
	for i, known := range strings.Fields(capabilityNames) {
		if name == "CAP_"+known {
			return 1 << i, true
		}
	}
	return 0, false
}

// ClosedName is the name of a process (/proc/PID/comm) that nobody may inspect: from when it gives
// up its capabilities until it is the application.
const ClosedName = "ocishim:closed"

// take gives up all other capabilities, and sets no_new_privs if asked to.
//
// The tasks of a Slurm step share a user namespace. While a task is launched it has every
// capability there, and no other task may inspect it (ptrace(2)). Once it has no more capabilities
// than the others they could enter it, although Go's other threads in its memory still have all. So
// take makes the process undumpable (PR_SET_DUMPABLE, which execve resets) until it is the
// application, and leaves no thread more than the application gets. It cannot do so earlier,
// because the next task joins the namespace through any live task (/proc/PID/ns/user).
func (c capabilities) take(noNewPrivs bool) error {
	if err := closeToOthers(); err != nil {
		return err
	}
	data := c.data()
	if err := restrictOthers(data, noNewPrivs); err != nil {
		return err
	}
	for bit := range uintptr(64) {
		if c.Bounding>>bit&1 != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, bit, 0, 0, 0); err != nil {
			break // the kernel knows no more
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	for bit := range uintptr(64) {
		if c.Ambient>>bit&1 == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, bit, 0, 0); err != nil {
			return fmt.Errorf("set ambient capability %d: %w", bit, err)
		}
	}
	if noNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return nil
}

func closeToOthers() error {
	name, err := unix.BytePtrFromString(ClosedName)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
	if err == nil {
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	if err != nil {
		return fmt.Errorf("close process to others: %w", err)
	}
	return nil
}

// data returns the three sets in the form that capset(2) takes.
func (c capabilities) data() [2]unix.CapUserData {
	var data [2]unix.CapUserData
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(c.Effective >> shift),
			Permitted:   uint32(c.Permitted >> shift),
			Inheritable: uint32(c.Inheritable >> shift),
		}
	}
	return data
}
