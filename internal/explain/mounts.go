package explain

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// mount records the mounts of an edit, and updates the list of all mounts.
func (l *list) mount(e bundle.Edit) {
	after := e.MergeMounts(slices.Clone(l.mounts))
	for _, p := range e.MountsAt {
		from := min(p.Index, len(l.mounts))
		for _, m := range l.mounts[from:min(p.Index+p.Replaced, len(l.mounts))] {
			at := destination(m)
			if !slices.ContainsFunc(after, func(m specs.Mount) bool { return destination(m) == at }) {
				l.takeOut(at)
			}
		}
	}
	for _, p := range e.MountsAt {
		for _, m := range p.Mounts {
			l.add(Mount, m.Destination, source(m))
		}
	}
	for _, m := range slices.Concat(e.MountsFirst, e.Mounts) {
		l.add(Mount, m.Destination, source(m))
	}
	l.mounts = after
}

// dropMounts removes the mounts at and below a directory.
func (l *list) dropMounts(dir string) {
	dir = path.Clean(dir)
	within := func(at string) bool { return at == dir || strings.HasPrefix(at, strings.TrimSuffix(dir, "/")+"/") }
	var out []string
	for k := range l.owners {
		if at, ok := strings.CutPrefix(k, Mount+" "); ok && within(at) {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	for _, at := range out {
		l.takeOut(at)
	}
	l.mounts = slices.DeleteFunc(l.mounts, func(m specs.Mount) bool { return within(destination(m)) })
}

// takeOut records that the path no longer has a mount.
func (l *list) takeOut(at string) {
	k := key(Mount, at)
	old, ok := l.owners[k]
	if !ok {
		return
	}
	if old.at >= 0 {
		l.changes[old.at].LostTo = l.from
	}
	l.changes = append(l.changes, Change{Kind: Drop, Name: "mount " + at, From: l.from, Rule: l.rule, Over: old.who, Was: old.value})
	delete(l.owners, k)
}

// destination returns where a mount goes, as a clean absolute path: a relative one is
// relative to /.
func destination(m specs.Mount) string { return path.Clean("/" + m.Destination) }

// source describes what is mounted, and how.
func source(m specs.Mount) string {
	from := bundle.NameOf(m)
	if len(m.Options) == 0 {
		return from
	}
	return from + " (" + strings.Join(m.Options, ",") + ")"
}
