package bundle

import (
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// takeRootMount turns a bind mount over / into the root file system, as runc does, and drops the
// mounts before it, which it would hide. The last such mount counts.
func (b *Bundle) takeRootMount() *ConfigError {
	last := -1
	for i, m := range b.Spec.Mounts {
		if m.Destination != "" && destination(m) == "/" && IsBind(m) {
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	m, field := b.Spec.Mounts[last], at("mounts", last)
	if m.Source == "" {
		return invalid(field+".source", "missing: a bind mount needs one")
	}
	readonly, bad := rootOptions(m)
	if bad != nil {
		return bad.within(field)
	}
	source := m.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(b.Dir, source)
	}
	rootfs, err := resolveRootfs(b.Dir, source)
	if err != nil {
		return invalid(field+".source", "%w", err)
	}
	e := Edit{
		From: "config.json", Rule: field + ": a bind over /",
		MountsAt: []MountsAt{{Replaced: last + 1}}, RootPath: rootfs, RootReadonly: readonly,
	}
	b.merge(e)
	b.Applied = append(b.Applied, e)
	b.Rootfs = rootfs
	return nil
}

// rootOptions reads the options of a bind mount over /. It refuses options that a root file system
// cannot have, rather than dropping them.
func rootOptions(m specs.Mount) (readonly bool, bad *ConfigError) {
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return false, invalid("uidMappings", "a bind over / cannot be idmapped")
	}
	for i, option := range m.Options {
		switch option {
		case "ro":
			readonly = true
		case "rw":
			readonly = false
		case "", "defaults", "bind", "rbind", "suid", "dev", "exec", "private", "rprivate", "slave", "rslave":
		default:
			return false, invalid(at("options", i), "a bind over / can have ro and rw, not %s: it becomes the root of the container", text.Printable(option))
		}
	}
	return readonly, nil
}
