package bundle

import (
	"maps"
	"reflect"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Edit is one change to a configuration, as data: it can be printed, checked by policy, compared in
// tests and recorded. The zero value changes nothing, and neither does any empty field. Apply
// documents how edits are merged.
type Edit struct {
	// From names the source of the change, such as "slurm" or "gpu", for people.
	From string `json:"from"`

	// Rule gives the reason, such as "SLURM_STEP_GPUS: 2 of 8 GPUs", for people.
	Rule string `json:"rule,omitempty"`

	// Drop removes fields from the configuration before the rest of the edit is applied. Each is a
	// path in config.json, one of those in drops.
	Drop []string `json:"drop,omitempty"`

	// DropMounts removes the mounts at and below these destinations.
	DropMounts []string `json:"dropMounts,omitempty"`

	// Args replaces process.args, and Cwd replaces process.cwd, each if it is not empty.
	Args []string `json:"args,omitempty"`
	Cwd  string   `json:"cwd,omitempty"`

	// NoNewPrivileges sets process.noNewPrivileges (config.md, Linux Process).
	NoNewPrivileges bool `json:"noNewPrivileges,omitempty"`

	// EnvUnset removes variables by name, before the others are set.
	EnvUnset []string `json:"envUnset,omitempty"`

	// Env sets variables, each "NAME=value", replacing those of the container.
	Env []string `json:"env,omitempty"`

	// EnvDefault sets variables, each "NAME=value", that the container still lacks after Env.
	EnvDefault []string `json:"envDefault,omitempty"`

	// EnvPrepend puts elements, each "NAME=element", at the front of variables that hold a list
	// separated by colons, after Env and EnvDefault. Each goes to the front in turn, so the last
	// element of a name is searched first. If the variable is absent or empty it becomes the
	// element alone: an empty list element would mean the working directory.
	EnvPrepend []string `json:"envPrepend,omitempty"`

	// Namespaces are created or joined (config-linux.md, Namespaces); each
	// replaces the container's of the same type.
	Namespaces []specs.LinuxNamespace `json:"namespaces,omitempty"`

	// UIDMappings and GIDMappings replace the container's as a whole
	// (config-linux.md, User namespace mappings).
	UIDMappings []specs.LinuxIDMapping `json:"uidMappings,omitempty"`
	GIDMappings []specs.LinuxIDMapping `json:"gidMappings,omitempty"`

	// User replaces process.user as a whole (config.md, User).
	User *specs.User `json:"user,omitempty"`

	// AdditionalGids are added to process.user.additionalGids, each once
	// (config.md, POSIX-platform User).
	AdditionalGids []uint32 `json:"additionalGids,omitempty"`

	// Capabilities replace process.capabilities as a whole (config.md, Linux Process).
	Capabilities *specs.LinuxCapabilities `json:"capabilities,omitempty"`

	// Seccomp replaces linux.seccomp as a whole (config-linux.md, Seccomp).
	Seccomp *specs.LinuxSeccomp `json:"seccomp,omitempty"`

	// Terminal sets process.terminal (config.md, Process).
	Terminal bool `json:"terminal,omitempty"`

	// MountsAt inserts mounts at indexes of the container's list, or replaces some of its mounts.
	// The indexes count the list as it was, and ascend.
	MountsAt []MountsAt `json:"mountsAt,omitempty"`

	// Mounts are added, or replace the container's at the same destination
	// (config.md, Mounts).
	Mounts []specs.Mount `json:"mounts,omitempty"`

	// MountsFirst are mounted before all others, in their order, so the container's mounts find
	// their mount points.
	MountsFirst []specs.Mount `json:"mountsFirst,omitempty"`
	// Exact lists destinations of the edit's mounts that links of the image must not redirect: what
	// the image has there is replaced.
	Exact []string `json:"exact,omitempty"`

	// Devices are added, or replace the container's at the same path. The device cgroup allows
	// them.
	Devices []Device `json:"devices,omitempty"`

	// Directories appear in the container in place of what the image has at these paths. They hold
	// nothing but the mounts and links below them.
	Directories []string `json:"directories,omitempty"`

	// Links and Files appear in the container. Each replaces what an earlier edit put at the same
	// path.
	Links []Link `json:"links,omitempty"`
	Files []File `json:"files,omitempty"`

	// Hooks run after the container's own hooks of the same kind (config.md, POSIX-platform Hooks).
	Hooks *specs.Hooks `json:"hooks,omitempty"`

	// RootPath replaces root.path: an absolute path of an existing directory on the host, or the
	// name of Bundle.RootMount. It may
	// lead through symlinks.
	RootPath string `json:"rootPath,omitempty"`

	// RootReadonly sets root.readonly (config.md, Root).
	RootReadonly bool `json:"rootReadonly,omitempty"`

	// Layer is where changes of the root file system go; it replaces Bundle.Layer.
	Layer *Layer `json:"layer,omitempty"`

	// Annotations are set by key (config.md, Annotations).
	Annotations map[string]string `json:"annotations,omitempty"`
}

// clone returns a copy that shares no writable memory with e.
func (e Edit) clone() Edit {
	e.Drop = slices.Clone(e.Drop)
	e.DropMounts = slices.Clone(e.DropMounts)
	e.Args = slices.Clone(e.Args)
	e.Env = slices.Clone(e.Env)
	e.EnvDefault = slices.Clone(e.EnvDefault)
	e.EnvPrepend = slices.Clone(e.EnvPrepend)
	e.EnvUnset = slices.Clone(e.EnvUnset)
	e.Namespaces = slices.Clone(e.Namespaces)
	e.UIDMappings = slices.Clone(e.UIDMappings)
	e.GIDMappings = slices.Clone(e.GIDMappings)
	e.User = cloneUser(e.User)
	e.Capabilities = cloneCapabilities(e.Capabilities)
	e.Seccomp = cloneSeccomp(e.Seccomp)
	e.MountsAt = cloneMountsAt(e.MountsAt)
	e.Mounts = cloneMounts(e.Mounts)
	e.MountsFirst = cloneMounts(e.MountsFirst)
	e.Exact = slices.Clone(e.Exact)
	e.AdditionalGids = slices.Clone(e.AdditionalGids)
	e.Devices = cloneDevices(e.Devices)
	e.Directories = slices.Clone(e.Directories)
	e.Links = slices.Clone(e.Links)
	e.Files = cloneFiles(e.Files)
	e.Hooks = cloneHooks(e.Hooks)
	e.Layer = e.Layer.clone()
	e.Annotations = maps.Clone(e.Annotations)
	return e
}

// Empty reports whether the edit changes nothing.
func (e Edit) Empty() bool {
	e.From, e.Rule = "", ""
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if !unset(v.Field(i)) {
			return false
		}
	}
	return true
}

// WithoutContent returns the edits for recording or printing, without the content of files.
func WithoutContent(edits []Edit) []Edit {
	bare := append([]Edit{}, edits...)
	for i := range bare {
		bare[i].Files = slices.Clone(bare[i].Files)
		for k := range bare[i].Files {
			bare[i].Files[k].Data = nil
		}
	}
	return bare
}

func cloneUser(u *specs.User) *specs.User {
	if u == nil {
		return nil
	}
	c := *u
	c.AdditionalGids = slices.Clone(u.AdditionalGids)
	if u.Umask != nil {
		umask := *u.Umask
		c.Umask = &umask
	}
	return &c
}

func cloneCapabilities(c *specs.LinuxCapabilities) *specs.LinuxCapabilities {
	if c == nil {
		return nil
	}
	return &specs.LinuxCapabilities{
		Bounding: slices.Clone(c.Bounding), Effective: slices.Clone(c.Effective), Inheritable: slices.Clone(c.Inheritable),
		Permitted: slices.Clone(c.Permitted), Ambient: slices.Clone(c.Ambient),
	}
}

func cloneSeccomp(s *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	if s == nil {
		return nil
	}
	c := *s
	c.DefaultErrnoRet = cloneNumber(s.DefaultErrnoRet)
	c.Architectures, c.Flags = slices.Clone(s.Architectures), slices.Clone(s.Flags)
	c.Syscalls = slices.Clone(s.Syscalls)
	for i, call := range s.Syscalls {
		c.Syscalls[i].Names, c.Syscalls[i].Args = slices.Clone(call.Names), slices.Clone(call.Args)
		c.Syscalls[i].ErrnoRet = cloneNumber(call.ErrnoRet)
	}
	return &c
}

func cloneNumber(n *uint) *uint {
	if n == nil {
		return nil
	}
	c := *n
	return &c
}

func cloneMounts(mounts []specs.Mount) []specs.Mount {
	mounts = slices.Clone(mounts)
	for i, m := range mounts {
		m.Options = slices.Clone(m.Options)
		m.UIDMappings = slices.Clone(m.UIDMappings)
		m.GIDMappings = slices.Clone(m.GIDMappings)
		mounts[i] = m
	}
	return mounts
}
