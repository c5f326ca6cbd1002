package inplace

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilities are the five sets (capabilities(7)), a bit for each.
type capabilities struct {
	Bounding    uint64 `json:"bounding,omitempty"`
	Effective   uint64 `json:"effective,omitempty"`
	Permitted   uint64 `json:"permitted,omitempty"`
	Inheritable uint64 `json:"inheritable,omitempty"`
	Ambient     uint64 `json:"ambient,omitempty"`
}

// capabilityNames are those of linux/capability.h, in their order.
const capabilityNames = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE " +
	"NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE " +
	"SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL " +
	"SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

// newCapabilities reads the names; none of them is the empty set.
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

// CapabilityBit is the bit that the name, such as CAP_KILL, stands for in a set.
func CapabilityBit(name string) (uint64, bool) {
	for i, known := range strings.Fields(capabilityNames) {
		if name == "CAP_"+known {
			return 1 << i, true
		}
	}
	return 0, false
}

// ClosedName is what a process is called (/proc/PID/comm) while nobody may look into it:
// from where it gives up its capabilities until it is the application.
const ClosedName = "ocishim:closed"

// take gives up everything else, and sets no_new_privs where that is asked for.
//
// The tasks of a Slurm step share a user namespace. As long as a task that is launched
// has every capability in it, no other one may look into it (ptrace(2)); one that has as
// few as the others might be entered by them, and in its memory are threads of Go's that
// still have all. So nobody may look into it from here on until it is the application
// (PR_SET_DUMPABLE, which execve resets), and no thread keeps more than the application
// gets. It stays open until here because the next task joins the namespace by way of any
// that lives (/proc/PID/ns/user).
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
			break // the kernel's last
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

// data is the three sets that capset(2) takes.
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
