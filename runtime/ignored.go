package runtime

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
)

// warnOfIgnored says in the log what of the spec has no effect. It is not an
// error: engines send some of it, and every other runtime ignores it, too.
func warnOfIgnored(id string, spec *specs.Spec) {
	for _, field := range ignoredFields(spec) {
		logrus.Warnf("container %q: %s has no effect", id, field)
	}
}

// ignoredFields names what the spec has and libcontainer, or the kernel, does
// not look at.
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
	if l.Resources != nil && l.Resources.Memory != nil {
		m := l.Resources.Memory
		note(m.Kernel != nil, "linux.resources.memory.kernel (gone from the kernel)") //nolint:staticcheck // that is why
		note(m.KernelTCP != nil, "linux.resources.memory.kernelTCP (gone from the kernel)")
		note(m.UseHierarchy != nil && !*m.UseHierarchy, "linux.resources.memory.useHierarchy (libcontainer always uses it)")
	}
	return ignored
}
