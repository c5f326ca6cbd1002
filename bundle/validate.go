package bundle

import (
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// Validate finds what can be known to be wrong with the configuration before anything is created:
// what the specification 1.3 forbids, what the kernel always refuses, and what is meant for another
// platform. It looks only at b.Spec, neither at the host nor at the root file system, and is meant
// to run after Apply. Indices in its errors count as in b.Spec, after the edits.
//
// It leaves to the launcher what only the launcher knows: names of capabilities (config.md makes an
// unknown one a warning), seccomp, resources, sysctls, mount options, scheduler, and whether
// namespaces and mappings fit together.
//
// The error is a *ConfigError for the first problem found, which is always the same one.
func (b *Bundle) Validate() error {
	if bad := b.firstInvalid(); bad != nil {
		return b.blame(bad)
	}
	return nil
}

// blame adds the checked file to the error of a check.
func (b *Bundle) blame(bad *ConfigError) error {
	bad.op, bad.File = "validate", filepath.Join(b.Dir, ConfigName)
	return bad
}

func (b *Bundle) firstInvalid() *ConfigError {
	if b.Spec == nil {
		return invalid("", "the bundle has no spec")
	}
	checks := [...]func(*specs.Spec) *ConfigError{
		checkVersion,
		checkEverywhere,
		checkRoot,
		checkProcess,
		checkHostname,
		func(s *specs.Spec) *ConfigError { return checkMounts("mounts", s.Mounts) },
		checkLinux,
		func(s *specs.Spec) *ConfigError { return checkHooks("hooks", s.Hooks) },
	}
	for _, check := range checks {
		if bad := check(b.Spec); bad != nil {
			return bad
		}
	}
	return nil
}

// checkVersion follows config.md, Specification version: by SemVer 2.0.0 a runtime for 1.x
// understands every 1.y.z, including pre-releases.
func checkVersion(spec *specs.Spec) *ConfigError {
	const field = "ociVersion"
	if spec.Version == "" {
		return invalid(field, "missing")
	}
	core := spec.Version
	if i := strings.IndexAny(core, "-+"); i >= 0 {
		core = core[:i]
	}
	parts := strings.Split(core, ".")
	for _, part := range parts {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return invalid(field, "%s is not a version such as 1.3.0", text.Printable(spec.Version))
		}
	}
	switch {
	case len(parts) != 3:
		return invalid(field, "%s is not a version such as 1.3.0", text.Printable(spec.Version))
	case parts[0] != "1":
		return invalid(field, "version %s is %w: only 1.x is", text.Printable(spec.Version), ErrUnsupported)
	}
	return nil
}

// checkRoot follows config.md, Root: on Linux it is required.
func checkRoot(spec *specs.Spec) *ConfigError {
	switch {
	case spec.Root == nil:
		return invalid("root", "missing")
	case spec.Root.Path == "":
		return invalid("root.path", "missing")
	}
	return nil
}

// hostNameMax is the kernel's __NEW_UTS_LEN, the limit for both names.
const hostNameMax = 64

// checkHostname follows config.md, Hostname and Domainname.
func checkHostname(spec *specs.Spec) *ConfigError {
	switch {
	case len(spec.Hostname) > hostNameMax:
		return invalid("hostname", "%s has more than %d bytes", text.Printable(spec.Hostname), hostNameMax)
	case len(spec.Domainname) > hostNameMax:
		return invalid("domainname", "%s has more than %d bytes", text.Printable(spec.Domainname), hostNameMax)
	}
	return nil
}

// checkHooks follows config.md, POSIX-platform Hooks.
func checkHooks(section string, h *specs.Hooks) *ConfigError {
	if h == nil {
		return nil
	}
	for _, list := range []struct {
		field string
		hooks []specs.Hook
	}{
		{section + ".prestart", h.Prestart}, //nolint:staticcheck // deprecated, but Docker sends it
		{section + ".createRuntime", h.CreateRuntime},
		{section + ".createContainer", h.CreateContainer},
		{section + ".startContainer", h.StartContainer},
		{section + ".poststart", h.Poststart},
		{section + ".poststop", h.Poststop},
	} {
		for i, hook := range list.hooks {
			field := at(list.field, i)
			if bad := checkAbsolute(field+".path", hook.Path); bad != nil {
				return bad
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return invalid(field+".timeout", "%d is not greater than zero seconds", *hook.Timeout)
			}
		}
	}
	return nil
}

// checkAbsolute requires an absolute path.
func checkAbsolute(field, path string) *ConfigError {
	switch {
	case path == "":
		return invalid(field, "missing")
	case !strings.HasPrefix(path, "/"):
		return invalid(field, "%s is not an absolute path", text.Printable(path))
	}
	return nil
}
