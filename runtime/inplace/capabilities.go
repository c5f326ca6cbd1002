package inplace

import (
	"fmt"
	"strings"

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
			bit, known := capabilityBit(name)
			if !known {
				return sets, fmt.Errorf("unknown %q", name)
			}
			*s.to |= bit
		}
	}
	return sets, nil
}

func capabilityBit(name string) (uint64, bool) {
	for i, known := range strings.Fields(capabilityNames) {
		if name == "CAP_"+known {
			return 1 << i, true
		}
	}
	return 0, false
}

// take gives up everything else. It acts on this thread alone, the one that
// becomes the application.
func (c capabilities) take() error {
	for bit := range uintptr(64) {
		if c.Bounding>>bit&1 != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, bit, 0, 0, 0); err != nil {
			break // the kernel's last
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(c.Effective >> shift),
			Permitted:   uint32(c.Permitted >> shift),
			Inheritable: uint32(c.Inheritable >> shift),
		}
	}
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
	return nil
}
