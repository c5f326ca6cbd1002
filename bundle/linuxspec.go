package bundle

import (
	"cmp"
	"math"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// checkLinux follows config-linux.md.
func checkLinux(spec *specs.Spec) *ConfigError {
	l := spec.Linux
	if l == nil {
		return nil
	}
	for _, bad := range []*ConfigError{
		checkNamespaces("linux.namespaces", l.Namespaces),
		checkMappings("linux.uidMappings", l.UIDMappings),
		checkMappings("linux.gidMappings", l.GIDMappings),
		checkDevices(l.Devices),
		checkPropagation(l.RootfsPropagation),
		checkAllAbsolute("linux.maskedPaths", l.MaskedPaths),
		checkAllAbsolute("linux.readonlyPaths", l.ReadonlyPaths),
	} {
		if bad != nil {
			return bad
		}
	}
	return nil
}

// checkNamespaces follows config-linux.md, Namespaces.
func checkNamespaces(field string, namespaces []specs.LinuxNamespace) *ConfigError {
	seen := make(map[specs.LinuxNamespaceType]int, len(namespaces))
	for i, ns := range namespaces {
		if !knownNamespace(ns.Type) {
			return invalid(at(field, i)+".type", "unknown type %s", text.Quoted(string(ns.Type)))
		}
		if first, twice := seen[ns.Type]; twice {
			return invalid(at(field, i)+".type", "%s is already set by %s", ns.Type, at(field, first))
		}
		seen[ns.Type] = i
		if ns.Path == "" {
			continue // not seen before
		}
		if bad := checkAbsolute(at(field, i)+".path", ns.Path); bad != nil {
			return bad
		}
	}
	return nil
}

// knownNamespace reports whether the specification has the type.
func knownNamespace(t specs.LinuxNamespaceType) bool {
	switch t {
	case specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
		specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace:
		return true
	}
	return false
}

// maxMappings is how many lines the kernel takes in a uid_map or gid_map since 4.15.
const maxMappings = 340

// checkMappings refuses what the kernel would not accept in a uid_map or gid_map
// (user_namespaces(7)), and gives the reason where the kernel only says EINVAL.
func checkMappings(field string, mappings []specs.LinuxIDMapping) *ConfigError {
	if len(mappings) > maxMappings {
		return invalid(field, "%d mappings are more than the kernel's %d", len(mappings), maxMappings)
	}
	for i, m := range mappings {
		if m.Size == 0 {
			return invalid(at(field, i)+".size", "missing or 0")
		}
		// The last id, 4294967295, means "no id" and cannot be mapped.
		if uint64(max(m.ContainerID, m.HostID))+uint64(m.Size) > math.MaxUint32 {
			return invalid(at(field, i)+".size", "%d reaches beyond the last id", m.Size)
		}
	}
	inContainer := func(m specs.LinuxIDMapping) uint32 { return m.ContainerID }
	if bad := checkOverlap(field, "container", mappings, inContainer); bad != nil {
		return bad
	}
	return checkOverlap(field, "host", mappings, func(m specs.LinuxIDMapping) uint32 { return m.HostID })
}

// checkOverlap refuses two mappings that share an id, on the side that first selects.
func checkOverlap(field, side string, mappings []specs.LinuxIDMapping, first func(specs.LinuxIDMapping) uint32) *ConfigError {
	if len(mappings) < 2 {
		return nil
	}
	order := make([]int, len(mappings))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(first(mappings[a]), first(mappings[b]))
	})
	for k := 1; k < len(order); k++ {
		low, high := order[k-1], order[k]
		// This cannot overflow: both were checked to stay below the last id.
		if first(mappings[low])+mappings[low].Size > first(mappings[high]) {
			return invalid(at(field, max(low, high)), "overlaps %s on the %s side", at(field, min(low, high)), side)
		}
	}
	return nil
}

// checkDevices follows config-linux.md, Devices.
func checkDevices(devices []specs.LinuxDevice) *ConfigError {
	for i, d := range devices {
		if bad := checkDevice(at("linux.devices", i), d); bad != nil {
			return bad
		}
	}
	return nil
}

func checkDevice(field string, d specs.LinuxDevice) *ConfigError {
	if bad := checkAbsolute(field+".path", d.Path); bad != nil {
		return bad
	}
	switch d.Type {
	case "c", "b", "u", "p":
		return nil
	}
	return invalid(field+".type", "unknown type %s", text.Quoted(d.Type))
}

// checkPropagation follows config-linux.md, Rootfs Mount Propagation. The specification has four
// values; engines also send the recursive ones, which every runtime accepts.
func checkPropagation(value string) *ConfigError {
	switch value {
	case "", "shared", "slave", "private", "unbindable",
		"rshared", "rslave", "rprivate", "runbindable":
		return nil
	}
	return invalid("linux.rootfsPropagation", "unknown value %s", text.Quoted(value))
}

// checkAllAbsolute requires absolute paths.
func checkAllAbsolute(field string, paths []string) *ConfigError {
	for i, path := range paths {
		if bad := checkAbsolute(at(field, i), path); bad != nil {
			return bad
		}
	}
	return nil
}
