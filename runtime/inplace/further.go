package inplace

import (
	"errors"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Process returns what the task runs, in terms of the specification.
func (t *Task) Process() *specs.Process {
	p := &specs.Process{
		Args: t.Args, Env: t.Env, Cwd: t.Cwd, NoNewPrivileges: t.NoNewPrivs, OOMScoreAdj: t.OOMScoreAdj,
		User: specs.User{UID: uint32(unix.Geteuid()), GID: uint32(unix.Getegid()), Umask: t.Umask},
		Capabilities: &specs.LinuxCapabilities{
			Bounding: capabilityList(t.Capabilities.Bounding), Effective: capabilityList(t.Capabilities.Effective),
			Permitted: capabilityList(t.Capabilities.Permitted), Inheritable: capabilityList(t.Capabilities.Inheritable),
			Ambient: capabilityList(t.Capabilities.Ambient),
		},
	}
	if t.Root {
		p.User.UID, p.User.GID = 0, 0
	}
	names := strings.Fields(rlimitNames)
	for _, limit := range t.Rlimits {
		if limit.Type < 0 || limit.Type >= len(names) {
			continue // only the user can have written it
		}
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + names[limit.Type], Soft: limit.Soft, Hard: limit.Hard})
	}
	return p
}

// Further returns a task that runs another process in the container of t. The same seccomp filter
// applies, and no_new_privs if t has it: what the container guarantees holds for all its processes.
// The error names what such a process cannot have.
func (t *Task) Further(p *specs.Process) (*Task, error) {
	if t.NoNewPrivs {
		kept := *p
		kept.NoNewPrivileges = true
		p = &kept
	}
	reason := refuseProcess(p, t.Root)
	if reason == "" && t.Seccomp != nil && !p.NoNewPrivileges {
		reason = "linux.seccomp without process.noNewPrivileges"
	}
	if reason != "" {
		return nil, errors.New(reason)
	}
	further := &Task{Joins: true, Personality: t.Personality, Extras: Extras{Seccomp: t.Seccomp}}
	return further, further.setProcess(p)
}

func capabilityList(set uint64) []string {
	var list []string
	for i, name := range strings.Fields(capabilityNames) {
		if set>>i&1 != 0 {
			list = append(list, "CAP_"+name)
		}
	}
	return list
}
