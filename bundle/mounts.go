package bundle

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// destination returns where m is mounted, as a clean, absolute path in the container. Relative
// destinations are deprecated but mean relative to / (config.md, Mounts).
func destination(m specs.Mount) string {
	return path.Clean("/" + m.Destination)
}

// checkMounts follows config.md, Mounts.
func checkMounts(field string, mounts []specs.Mount) *ConfigError {
	for i, m := range mounts {
		field := at(field, i)
		switch {
		case m.Destination == "":
			return invalid(field+".destination", "missing")
		case destination(m) == "/":
			// Load has turned a bind mount over / into the root. Any other mount would hide the
			// root file system.
			return invalid(field+".destination", "%s is the root of the container: only a bind can take its place", text.Printable(m.Destination))
		case m.Source == "" && IsBind(m):
			return invalid(field+".source", "missing: a bind mount needs one")
		}
		if bad := checkMappings(field+".uidMappings", m.UIDMappings); bad != nil {
			return bad
		}
		if bad := checkMappings(field+".gidMappings", m.GIDMappings); bad != nil {
			return bad
		}
	}
	return nil
}

// IsBind reports whether m is a bind mount. By config.md the options decide, whatever the type is.
// The type bind without such an option also counts, as it can mean nothing else.
func IsBind(m specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// SquashfsType is the type of a mount that shows what is in a squashfs file, its source. The caller
// of a launch mounts it beforehand, by FUSE (Bundle.FileMounts). As mount(8) writes such types.
const SquashfsType = "fuse.squashfs"

// NameOf says what m mounts, for people.
func NameOf(m specs.Mount) string {
	if IsBind(m) {
		return m.Source
	}
	return m.Type
}

// Bind returns the bind mount of a file or directory of the host. It gets exactly these options, as
// in config.json: bind or rbind must be among them.
func Bind(source, destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "bind", Source: source, Options: options}
}

// Devpts returns the mount that gives a container terminals of its own.
func Devpts() specs.Mount {
	return specs.Mount{
		Destination: "/dev/pts", Type: "devpts", Source: "devpts",
		Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
	}
}

// PrivateDir returns the directory in a container for files of the named provider that have no
// place in the image. It is on the container's own /dev if there is one, since that needs no mount
// point in the image; otherwise below /run, unless something is mounted there.
func PrivateDir(mounts []specs.Mount, name string) string {
	if m, ok := mountAt(mounts, "/dev"); ok && m.Type == "tmpfs" {
		return "/dev/.ocishim/" + name
	}
	if _, ok := mountAt(mounts, "/run"); ok {
		return "/.ocishim/" + name
	}
	return "/run/.ocishim/" + name
}

// SharesDev reports whether the container has the host's own /dev, and so every device.
func SharesDev(mounts []specs.Mount) bool {
	m, ok := mountAt(mounts, "/dev")
	return ok && IsBind(m) && path.Clean(m.Source) == "/dev"
}

// HasDevice reports whether a mount already shows this host device: all of /dev, the directory
// above it, or the device itself.
func HasDevice(mounts []specs.Mount, device string) bool {
	for _, m := range slices.Backward(mounts) {
		if at := destination(m); within(device, at) {
			return IsBind(m) && path.Clean(m.Source)+strings.TrimPrefix(device, at) == device
		}
	}
	return false
}

// mountAt returns the mount at a directory; the last one counts.
func mountAt(mounts []specs.Mount, dir string) (specs.Mount, bool) {
	for _, m := range slices.Backward(mounts) {
		if path.Clean("/"+m.Destination) == dir {
			return m, true
		}
	}
	return specs.Mount{}, false
}
