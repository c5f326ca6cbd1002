package inplace

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// NewTask returns the task for a bundle that Supports accepts. image is the path of the image;
// b.Rootfs may be made up of parts of it.
func NewTask(b *bundle.Bundle, image string) (*Task, error) {
	spec, p := b.Spec, b.Spec.Process
	t := &Task{
		Image:         image,
		Rootfs:        b.Rootfs,
		Readonly:      spec.Root.Readonly,
		MaskedPaths:   spec.Linux.MaskedPaths,
		ReadonlyPaths: spec.Linux.ReadonlyPaths,
		Extras:        Extras{Seccomp: spec.Linux.Seccomp},
	}
	if err := t.setProcess(p); err != nil {
		return nil, err
	}
	for _, m := range spec.Mounts {
		made, err := newMount(m)
		if err != nil {
			return nil, err
		}
		if m.Type == bundle.SquashfsType {
			from := b.FileMounts[m.Destination]
			if from == nil {
				return nil, fmt.Errorf("mount %s at %s: %w", m.Source, m.Destination, errNotMounted)
			}
			made.Mount = int(from.Fd())
		}
		t.Mounts = append(t.Mounts, made)
	}
	if domain := spec.Linux.Personality; domain != nil {
		t.Personality = personality(domain.Domain)
	}
	if spec.Hooks != nil {
		t.CreateContainer, t.StartContainer = spec.Hooks.CreateContainer, spec.Hooks.StartContainer
	}
	return t, nil
}

// errNotMounted says that the caller of a launch left a mount of bundle.SquashfsType out.
var errNotMounted = errors.New("this squashfs file is not mounted")

// setProcess sets what is to run.
func (t *Task) setProcess(p *specs.Process) (err error) {
	t.Args, t.Env, t.Cwd = p.Args, p.Env, p.Cwd
	t.Umask, t.OOMScoreAdj, t.NoNewPrivs = p.User.Umask, p.OOMScoreAdj, p.NoNewPrivileges
	for _, limit := range p.Rlimits {
		number, _ := RlimitNumber(limit.Type)
		t.Rlimits = append(t.Rlimits, rlimit{number, limit.Soft, limit.Hard})
	}
	t.Capabilities, err = newCapabilities(p.Capabilities)
	return err
}

// personality returns the number of the domain (personality(2)).
func personality(domain specs.LinuxPersonalityDomain) *uint64 {
	const linux, linux32 = 0x0000, 0x0008
	number := uint64(linux)
	if domain == specs.PerLinux32 {
		number = linux32
	}
	return &number
}
