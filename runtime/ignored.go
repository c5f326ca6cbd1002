package runtime

import (
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
)

// warnOfIgnored logs a warning for each field of the spec that has no effect. It is not an
// error: engines send some of them, and every other runtime ignores them as well.
func warnOfIgnored(id string, spec *specs.Spec) {
	fields := ignoredFields(spec)
	if os.Geteuid() != 0 && onlyOwnID(spec) {
		fields = append(fields, ignoredUser(spec, os.Geteuid(), os.Getegid())...)
	}
	for _, field := range fields {
		logrus.Warnf("container %q: %s has no effect", id, field)
	}
}

// ignoredFields names the fields of the spec that libcontainer or the kernel ignores.
func ignoredFields(spec *specs.Spec) []string {
	if spec.Linux == nil {
		return nil
	}
	var ignored []string
	note := func(set bool, field string) {
		if set {
			ignored = append(ignored, field)
		}
	}
	l := spec.Linux
	mapped := len(l.UIDMappings)+len(l.GIDMappings) > 0
	inUserns := namespace(spec, specs.UserNamespace) != nil
	note(mapped && !inUserns, "linux.uidMappings without a user namespace")
	note(l.Personality != nil && len(l.Personality.Flags) > 0, "linux.personality.flags (libcontainer sets the domain only)")
	for _, d := range l.Devices {
		note(inUserns && d.UID != nil && *d.UID != 0, "the uid of "+d.Path+" (in a user namespace libcontainer makes it root's)")
		note(inUserns && d.GID != nil && *d.GID != 0, "the gid of "+d.Path+" (in a user namespace libcontainer makes it root's)")
	}
	if l.Resources != nil {
		ignored = append(ignored, ignoredLimits(l.Resources)...)
	}
	return append(ignored, ignoredListener(l.Seccomp)...)
}

// ignoredLimits names the ignored fields of resources, from config.json or for an update.
func ignoredLimits(r *specs.LinuxResources) []string {
	if r.Memory == nil {
		return nil
	}
	var ignored []string
	if r.Memory.Kernel != nil { //nolint:staticcheck // deprecated, which is why we warn
		ignored = append(ignored, "linux.resources.memory.kernel (removed from the kernel)")
	}
	if r.Memory.KernelTCP != nil {
		ignored = append(ignored, "linux.resources.memory.kernelTCP (removed from the kernel)")
	}
	if h := r.Memory.UseHierarchy; h != nil && !*h {
		ignored = append(ignored, "linux.resources.memory.useHierarchy (libcontainer always uses it)")
	}
	return ignored
}

// ignoredListener names a seccomp listener that no rule notifies.
func ignoredListener(s *specs.LinuxSeccomp) []string {
	if s == nil || s.ListenerPath == "" || s.DefaultAction == specs.ActNotify ||
		slices.ContainsFunc(s.Syscalls, func(call specs.LinuxSyscall) bool { return call.Action == specs.ActNotify }) {
		return nil
	}
	return []string{"linux.seccomp.listenerPath without a rule of the action SCMP_ACT_NOTIFY"}
}

// ignoredUser names the ids of the process that rootlessEdit replaces by the caller's uid
// and gid.
func ignoredUser(spec *specs.Spec, uid, gid int) []string {
	const why = " (without root the container has one id, the caller's, which is 0 inside)"
	var ignored []string
	u := spec.Process.User
	if u.UID != 0 && int(u.UID) != uid {
		ignored = append(ignored, fmt.Sprintf("process.user.uid %d%s", u.UID, why))
	}
	if u.GID != 0 && int(u.GID) != gid {
		ignored = append(ignored, fmt.Sprintf("process.user.gid %d%s", u.GID, why))
	}
	if len(u.AdditionalGids) > 0 {
		ignored = append(ignored, "process.user.additionalGids"+why)
	}
	return ignored
}
