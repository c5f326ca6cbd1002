package runtime

import (
	"slices"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// capabilitiesEdit leaves out the capabilities that the first process cannot get.
func capabilitiesEdit(b *bundle.Bundle) bundle.Edit {
	e := bundle.Edit{From: "capabilities", Rule: "the caller of ocishim can grant only its own"}
	if wanted := b.Spec.Process.Capabilities; namespace(b.Spec, specs.UserNamespace) == nil {
		if granted := withoutMissing(b.ID, wanted); granted != wanted {
			e.Capabilities = granted
		}
	}
	return e
}

// withoutMissing leaves out the capabilities that this process lacks, for a container
// without a user namespace: they cannot be granted, and the container runs without them
// (config.md, Linux Process). Unknown ones stay: libcontainer warns about them.
func withoutMissing(id string, c *specs.LinuxCapabilities) *specs.LinuxCapabilities {
	if c == nil {
		return nil
	}
	return without(c, id, ownCapabilities())
}

// without is withoutMissing for a caller with the given capabilities, a bit for each.
func without(c *specs.LinuxCapabilities, id string, has uint64) *specs.LinuxCapabilities {
	var missing []string
	granted := *c
	for _, set := range []*[]string{&granted.Bounding, &granted.Effective, &granted.Permitted, &granted.Inheritable, &granted.Ambient} {
		*set = slices.DeleteFunc(slices.Clone(*set), func(name string) bool {
			bit, known := inplace.CapabilityBit(name)
			if !known || has&bit != 0 {
				return false
			}
			if !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
			return true
		})
	}
	if len(missing) == 0 {
		return c
	}
	slices.Sort(missing)
	demanded().Warnf("container %q: ignoring capabilities that ocishim's caller does not have: %v", id, missing)
	return &granted
}

// ownCapabilities returns the capabilities that this process may pass on, a bit for each.
// Those that the kernel does not know are included: they are not ours to judge.
func ownCapabilities() uint64 {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return ^uint64(0)
	}
	has := uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32
	for bit := range 64 {
		switch bounding, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(bit), 0, 0, 0); {
		case err != nil: // beyond the kernel's last
			return has | ^uint64(0)<<bit
		case bounding == 0:
			has &^= 1 << bit
		}
	}
	return has
}

// ofContainer returns the process without the capabilities that it cannot get in the container.
func ofContainer(id string, lc *libcontainer.Container, p *specs.Process) *specs.Process {
	if config := lc.Config(); config.Namespaces.Contains(configs.NEWUSER) {
		return p
	}
	changed := *p
	changed.Capabilities = withoutMissing(id, p.Capabilities)
	return &changed
}
