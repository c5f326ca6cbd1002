package bundle

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// drops maps the fields that an edit may drop, by their path in config.json, to how each is
// dropped.
func drops() map[string]func(*specs.Spec) {
	linux := func(drop func(*specs.Linux)) func(*specs.Spec) {
		return func(s *specs.Spec) {
			if s.Linux != nil {
				drop(s.Linux)
			}
		}
	}
	process := func(drop func(*specs.Process)) func(*specs.Spec) {
		return func(s *specs.Spec) {
			if s.Process != nil {
				drop(s.Process)
			}
		}
	}
	return map[string]func(*specs.Spec){
		"hostname":             func(s *specs.Spec) { s.Hostname = "" },
		"domainname":           func(s *specs.Spec) { s.Domainname = "" },
		"process.capabilities": process(func(p *specs.Process) { p.Capabilities = new(specs.LinuxCapabilities) }),
		"process.rlimits":      process(func(p *specs.Process) { p.Rlimits = nil }),
		"process.oomScoreAdj":  process(func(p *specs.Process) { p.OOMScoreAdj = nil }),
		"process.consoleSize":  process(func(p *specs.Process) { p.ConsoleSize = nil }),
		"linux.cgroupsPath":    linux(func(l *specs.Linux) { l.CgroupsPath = "" }),
		"linux.devices":        linux(func(l *specs.Linux) { l.Devices = nil }),
		"linux.intelRdt":       linux(func(l *specs.Linux) { l.IntelRdt = nil }),
		"linux.maskedPaths":    linux(func(l *specs.Linux) { l.MaskedPaths = nil }),
		"linux.mappings":       linux(func(l *specs.Linux) { l.UIDMappings, l.GIDMappings = nil, nil }),
		"linux.namespaces":     linux(func(l *specs.Linux) { l.Namespaces = nil }),
		"linux.netDevices":     linux(func(l *specs.Linux) { l.NetDevices = nil }),
		"linux.readonlyPaths":  linux(func(l *specs.Linux) { l.ReadonlyPaths = nil }),
		"linux.resources":      linux(func(l *specs.Linux) { l.Resources = nil }),
		"linux.sysctl":         linux(func(l *specs.Linux) { l.Sysctl = nil }),
		"linux.timeOffsets":    linux(func(l *specs.Linux) { l.TimeOffsets = nil }),
	}
}

func checkDrops(names []string) *ConfigError {
	known := drops()
	for i, name := range names {
		if known[name] == nil {
			return invalid(at("drop", i), "%s cannot be dropped", text.Printable(name))
		}
	}
	return nil
}

// drop removes what the edit drops. It runs before the edit adds anything.
func (b *Bundle) drop(e Edit) {
	known := drops()
	for _, name := range e.Drop {
		known[name](b.Spec)
	}
	if len(e.DropMounts) == 0 {
		return
	}
	b.Spec.Mounts = slices.DeleteFunc(slices.Clone(b.Spec.Mounts), func(m specs.Mount) bool {
		return slices.ContainsFunc(e.DropMounts, func(dir string) bool { return within(destination(m), path.Clean(dir)) })
	})
}

// within reports whether the path is dir or lies below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
