package bundle

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// Device is a device node of the host that the container gets.
type Device struct {
	// LinuxDevice says where the device node appears and what it is (config-linux.md, Devices).
	specs.LinuxDevice

	// HostPath is where the device node is on the host, if that is not Path.
	HostPath string `json:"hostPath,omitempty"`

	// Access is what the device cgroup is to allow: some of "r", "w" and "m"
	// (config-linux.md, Allowed Device list). Empty adds no rule.
	Access string `json:"access,omitempty"`
}

// Link is a symbolic link to appear in the container. The specification cannot express it: the
// launcher makes it, without writing to the root file system.
type Link struct {
	Path   string `json:"path"`   // absolute, in the container
	Target string `json:"target"` // the target, stored as it is
}

// File is a read-only file to appear in the container, with content that exists nowhere on the
// host. The launcher makes it, like a Link.
type File struct {
	Path string `json:"path"` // absolute, in the container
	Data []byte `json:"data"`

	// Optional lets a launcher that cannot make the file, such as below /proc, leave it out.
	Optional bool `json:"optional,omitempty"`
}

// mergeDevices replaces device nodes by path and appends the rest. The rule that allows each is
// appended to the existing rules, since the last match counts. A device node at another path of the
// host is bound.
func mergeDevices(spec *specs.Spec, devices []Device) {
	for _, d := range devices {
		if d.Access != "" {
			allowDevice(spec.Linux, d)
		}
		if d.HostPath != "" && path.Clean(d.HostPath) != path.Clean(d.Path) {
			spec.Mounts = mergeMounts(spec.Mounts, []specs.Mount{Bind(d.HostPath, d.Path, "bind", "nosuid", "noexec")})
			continue
		}
		same := func(other specs.LinuxDevice) bool { return path.Clean(other.Path) == path.Clean(d.Path) }
		if i := slices.IndexFunc(spec.Linux.Devices, same); i >= 0 {
			spec.Linux.Devices[i] = d.LinuxDevice
			continue
		}
		spec.Linux.Devices = append(spec.Linux.Devices, d.LinuxDevice)
	}
}

func allowDevice(linux *specs.Linux, d Device) {
	if linux.Resources == nil {
		linux.Resources = new(specs.LinuxResources)
	}
	major, minor := d.Major, d.Minor
	linux.Resources.Devices = append(linux.Resources.Devices, specs.LinuxDeviceCgroup{
		Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: d.Access,
	})
}

// mergeHooks appends hooks to those of the same kind.
func mergeHooks(spec *specs.Spec, h *specs.Hooks) {
	if h == nil {
		return
	}
	if spec.Hooks == nil {
		spec.Hooks = new(specs.Hooks)
	}
	own := spec.Hooks
	own.Prestart = append(own.Prestart, h.Prestart...) //nolint:staticcheck // deprecated, but CDI has it
	own.CreateRuntime = append(own.CreateRuntime, h.CreateRuntime...)
	own.CreateContainer = append(own.CreateContainer, h.CreateContainer...)
	own.StartContainer = append(own.StartContainer, h.StartContainer...)
	own.Poststart = append(own.Poststart, h.Poststart...)
	own.Poststop = append(own.Poststop, h.Poststop...)
}

// mergeByPath replaces elements with the same path and appends the rest.
func mergeByPath[T any](list, edits []T, at func(T) string) []T {
	if len(edits) == 0 {
		return list
	}
	index := make(map[string]int, len(list)+len(edits))
	for i, e := range list {
		index[path.Clean(at(e))] = i
	}
	for _, e := range edits {
		clean := path.Clean(at(e))
		if i, ok := index[clean]; ok {
			list[i] = e
			continue
		}
		index[clean] = len(list)
		list = append(list, e)
	}
	return list
}

func linkPath(l Link) string { return l.Path }
func filePath(f File) string { return f.Path }

// checkInjected refuses device nodes, links and files that no launcher can make.
func checkInjected(e Edit) *ConfigError {
	for i, d := range e.Devices {
		field := at("devices", i)
		if bad := checkDevice(field, d.LinuxDevice); bad != nil {
			return bad
		}
		if d.HostPath != "" && !path.IsAbs(d.HostPath) {
			return invalid(field+".hostPath", "%s is not an absolute path", text.Printable(d.HostPath))
		}
		if strings.Trim(d.Access, "rwm") != "" {
			return invalid(field+".access", "%s is not made of r, w and m", text.Printable(d.Access))
		}
	}
	for i, dir := range e.Directories {
		if bad := checkPlace(at("directories", i), dir); bad != nil {
			return bad
		}
	}
	for i, l := range e.Links {
		if bad := checkPlace(at("links", i), l.Path); bad != nil {
			return bad
		}
		if l.Target == "" || strings.ContainsRune(l.Target, 0) {
			return invalid(at("links", i)+".target", "%s cannot be the target of a link", text.Quoted(l.Target))
		}
	}
	for i, f := range e.Files {
		if bad := checkPlace(at("files", i), f.Path); bad != nil {
			return bad
		}
	}
	return nil
}

func checkPlace(field, p string) *ConfigError {
	switch {
	case !path.IsAbs(p) || strings.ContainsRune(p, 0):
		return invalid(field+".path", "%s is not an absolute path", text.Quoted(p))
	case path.Clean(p) == "/":
		return invalid(field+".path", "%s is the root of the container", text.Printable(p))
	}
	return nil
}

func cloneDevices(devices []Device) []Device {
	devices = slices.Clone(devices)
	for i, d := range devices {
		devices[i].FileMode = cloneValue(d.FileMode)
		devices[i].UID = cloneValue(d.UID)
		devices[i].GID = cloneValue(d.GID)
	}
	return devices
}

func cloneFiles(files []File) []File {
	files = slices.Clone(files)
	for i, f := range files {
		files[i].Data = slices.Clone(f.Data)
	}
	return files
}

func cloneHooks(h *specs.Hooks) *specs.Hooks {
	if h == nil {
		return nil
	}
	return &specs.Hooks{
		Prestart:        cloneHookList(h.Prestart), //nolint:staticcheck // deprecated, but CDI has it
		CreateRuntime:   cloneHookList(h.CreateRuntime),
		CreateContainer: cloneHookList(h.CreateContainer),
		StartContainer:  cloneHookList(h.StartContainer),
		Poststart:       cloneHookList(h.Poststart),
		Poststop:        cloneHookList(h.Poststop),
	}
}

func cloneHookList(hooks []specs.Hook) []specs.Hook {
	hooks = slices.Clone(hooks)
	for i, h := range hooks {
		hooks[i].Args = slices.Clone(h.Args)
		hooks[i].Env = slices.Clone(h.Env)
		hooks[i].Timeout = cloneValue(h.Timeout)
	}
	return hooks
}

func cloneValue[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
