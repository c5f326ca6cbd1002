package runtime

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// rootlessEdit returns what a spec needs to run without root, the same as with crun and
// `runc spec --rootless`: a user namespace in which the caller is root, with no other id,
// and binds of the host's kernel file systems if the container shares the namespace that
// they belong to.
//
// A spec with mappings of its own keeps them, and its user: it was made for a user with
// subordinate ids.
func rootlessEdit(spec *specs.Spec, uid, gid int) bundle.Edit {
	e := bundle.Edit{From: "rootless"}
	if namespace(spec, specs.UserNamespace) == nil {
		e.Namespaces = []specs.LinuxNamespace{{Type: specs.UserNamespace}}
	}
	own := onlyOwnID(spec)
	if own {
		e.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(uid), Size: 1}}
		e.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(gid), Size: 1}}
	}
	root := ids{[]specs.LinuxIDMapping{{Size: 1}}, []specs.LinuxIDMapping{{Size: 1}}}
	user := spec.Process.User
	if own && (user.UID != 0 || user.GID != 0 || len(user.AdditionalGids) > 0) {
		// No other id exists inside. The caller's supplementary groups stay: an
		// unprivileged process may not set them (user_namespaces(7)).
		user.UID, user.GID, user.AdditionalGids = 0, 0, nil
		e.User = &user
	}
	for _, m := range spec.Mounts {
		if changed, ok := rootlessMount(spec, m, func(o string) bool { return own && root.foreign(o) }); ok {
			e.Mounts = append(e.Mounts, changed)
			e.Mounts = append(e.Mounts, readOnlyCgroups(spec, changed)...)
		}
	}
	return e
}

// onlyOwnID reports whether the container has no id but the caller's: it joins no user
// namespace, and has no mappings for a new one.
func onlyOwnID(spec *specs.Spec) bool {
	ns := namespace(spec, specs.UserNamespace)
	return (ns == nil || ns.Path == "") && (spec.Linux == nil || len(spec.Linux.UIDMappings) == 0)
}

// readOnlyCgroups covers the cgroups that come with the host's /sys, which the user may
// own. A read-only bind of /sys does not make what is mounted below it read-only
// (CVE-2023-25809).
func readOnlyCgroups(spec *specs.Spec, sys specs.Mount) []specs.Mount {
	cgroups := filepath.Join(sys.Destination, "fs/cgroup")
	own := func(m specs.Mount) bool { return filepath.Clean(m.Destination) == cgroups }
	if sys.Source != "/sys" || slices.ContainsFunc(spec.Mounts, own) {
		return nil
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return nil
	}
	options := []string{"nosuid", "noexec", "nodev", "relatime", "ro"}
	return []specs.Mount{{Destination: cgroups, Type: "cgroup", Source: "cgroup", Options: options}}
}

// rootlessMount returns the mount as it can be made without root, without options that are
// foreign to its user namespace, and whether it differs.
func rootlessMount(spec *specs.Spec, m specs.Mount, foreign func(option string) bool) (specs.Mount, bool) {
	shared := func(t specs.LinuxNamespaceType) bool {
		ns := namespace(spec, t)
		return ns == nil || ns.Path != ""
	}
	var source string
	switch {
	case m.Type == "sysfs" && shared(specs.NetworkNamespace):
		source = "/sys"
	case m.Type == "proc" && shared(specs.PIDNamespace):
		source = "/proc"
	case m.Type == "mqueue" && shared(specs.IPCNamespace):
		source = "/dev/mqueue"
	}
	if source != "" {
		if _, err := os.Stat(source); err != nil {
			// The host has no /dev/mqueue: the system calls of message queues do not need
			// it.
			return specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "nodev"}}, true
		}
		options := []string{"rbind", "nosuid", "noexec", "nodev"}
		if slices.Contains(m.Options, "ro") {
			options = append(options, "ro")
		}
		return specs.Mount{Destination: m.Destination, Type: "bind", Source: source, Options: options}, true
	}
	options := slices.DeleteFunc(slices.Clone(m.Options), foreign)
	if len(options) == len(m.Options) {
		return m, false
	}
	m.Options = options
	return m, true
}

// namespace returns the spec's namespace of the type, nil when it has none.
func namespace(spec *specs.Spec, t specs.LinuxNamespaceType) *specs.LinuxNamespace {
	if spec.Linux == nil {
		return nil
	}
	for i := range spec.Linux.Namespaces {
		if spec.Linux.Namespaces[i].Type == t {
			return &spec.Linux.Namespaces[i]
		}
	}
	return nil
}
