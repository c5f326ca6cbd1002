package inplace

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Supports returns why the container cannot be launched in place; empty if it can. The table in
// docs/launchers.md describes this function.
func Supports(spec *specs.Spec) string {
	for _, reason := range []string{
		refuseProcess(spec.Process, MakesRoot(spec)), refuseHooks(spec.Hooks), refuseMounts(spec.Mounts), refuseMappings(spec), refuseLinux(spec.Linux),
	} {
		if reason != "" {
			return reason
		}
	}
	switch {
	case spec.Linux.Seccomp != nil && !spec.Process.NoNewPrivileges:
		return "linux.seccomp without process.noNewPrivileges"
	case spec.Hostname != "":
		return "hostname needs a uts namespace"
	case spec.Domainname != "":
		return "domainname needs a uts namespace"
	}
	return ""
}

// notifies reports whether the filter has a listener, which would have to be notified.
func notifies(s *specs.LinuxSeccomp) bool {
	asks := func(call specs.LinuxSyscall) bool { return call.Action == specs.ActNotify }
	return s.ListenerPath != "" || s.ListenerMetadata != "" || s.DefaultAction == specs.ActNotify || slices.ContainsFunc(s.Syscalls, asks)
}

// MakesRoot reports whether the container has only the caller's ids, as those of root.
func MakesRoot(spec *specs.Spec) bool {
	only := func(mappings []specs.LinuxIDMapping, id int) bool {
		return len(mappings) == 1 && mappings[0] == specs.LinuxIDMapping{HostID: uint32(id), Size: 1}
	}
	return spec.Linux != nil && only(spec.Linux.UIDMappings, unix.Geteuid()) && only(spec.Linux.GIDMappings, unix.Getegid())
}

// refuseProcess refuses what a process cannot have that is the caller, or the caller as root.
func refuseProcess(p *specs.Process, root bool) string {
	uid, gid := unix.Geteuid(), unix.Getegid()
	if root {
		uid, gid = 0, 0
	}
	switch {
	case int(p.User.UID) != uid || int(p.User.GID) != gid:
		return "process.user is not the caller"
	case len(p.User.AdditionalGids) > 0:
		return "process.user.additionalGids needs privileges"
	case p.ApparmorProfile != "":
		return "process.apparmorProfile"
	case p.SelinuxLabel != "":
		return "process.selinuxLabel"
	case p.Scheduler != nil:
		return "process.scheduler"
	case p.IOPriority != nil:
		return "process.ioPriority"
	case p.ConsoleSize != nil && p.Terminal:
		return "process.consoleSize"
	}
	for _, limit := range p.Rlimits {
		if _, known := RlimitNumber(limit.Type); !known {
			return "process.rlimits: " + limit.Type
		}
	}
	if _, err := newCapabilities(p.Capabilities); err != nil {
		return "process.capabilities: " + err.Error()
	}
	return ""
}

// refuseHooks refuses all hooks except those that run in the container's namespaces. The others run
// outside, where this process cannot return, or after the end.
func refuseHooks(h *specs.Hooks) string {
	if h == nil {
		return ""
	}
	switch {
	case len(h.Prestart) > 0: //nolint:staticcheck // deprecated, and still sent
		return "hooks.prestart"
	case len(h.CreateRuntime) > 0:
		return "hooks.createRuntime"
	case len(h.Poststart) > 0:
		return "hooks.poststart"
	case len(h.Poststop) > 0:
		return "hooks.poststop"
	}
	return ""
}

func refuseMounts(mounts []specs.Mount) string {
	for _, m := range mounts {
		if _, err := newMount(m); err != nil {
			return fmt.Sprintf("mount at %s: %v", m.Destination, err)
		}
	}
	return ""
}

// refuseMappings refuses all mappings but those of MakesRoot, which a user may write.
func refuseMappings(spec *specs.Spec) string {
	if l := spec.Linux; l != nil && len(l.UIDMappings)+len(l.GIDMappings) > 0 && !MakesRoot(spec) {
		return "linux.uidMappings"
	}
	return ""
}

func refuseLinux(l *specs.Linux) string {
	if l == nil {
		return "linux is missing"
	}
	for _, ns := range l.Namespaces {
		if ns.Path != "" || ns.Type != specs.UserNamespace && ns.Type != specs.MountNamespace {
			return "linux.namespaces: " + string(ns.Type)
		}
	}
	switch {
	case !slices.ContainsFunc(l.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.MountNamespace }):
		return "linux.namespaces: no mount namespace"
	case len(l.Sysctl) > 0:
		return "linux.sysctl"
	case l.Resources != nil:
		return "linux.resources"
	case l.CgroupsPath != "":
		return "linux.cgroupsPath"
	case len(l.Devices) > 0:
		return "linux.devices"
	case len(l.NetDevices) > 0:
		return "linux.netDevices"
	case l.Seccomp != nil && notifies(l.Seccomp):
		return "linux.seccomp: its listener"
	case l.RootfsPropagation != "" && l.RootfsPropagation != "private" && l.RootfsPropagation != "rprivate" &&
		l.RootfsPropagation != "slave" && l.RootfsPropagation != "rslave":
		return "linux.rootfsPropagation: " + l.RootfsPropagation
	case l.MountLabel != "":
		return "linux.mountLabel"
	case l.IntelRdt != nil:
		return "linux.intelRdt"
	case l.MemoryPolicy != nil:
		return "linux.memoryPolicy"
	case l.Personality != nil && (len(l.Personality.Flags) > 0 || l.Personality.Domain != specs.PerLinux && l.Personality.Domain != specs.PerLinux32):
		return "linux.personality"
	case len(l.TimeOffsets) > 0:
		return "linux.timeOffsets"
	}
	return ""
}
