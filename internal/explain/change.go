// Package explain describes what edits do to a container's configuration: each change
// with its source and rule, and which one wins if two conflict. It treats edits as
// data, whatever made them.
package explain

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// A Change is one effect of an edit.
type Change struct {
	Kind  string `json:"kind"`            // one of the kinds below
	Name  string `json:"name"`            // path in the container, variable, or field of config.json
	Value string `json:"value,omitempty"` // the new value: a source, a target, a number

	From string `json:"from"`           // the source, as in bundle.Edit
	Rule string `json:"rule,omitempty"` // why

	// Over is the source of the value that was replaced, Bundle for config.json; Was is
	// that value.
	Over string `json:"over,omitempty"`
	Was  string `json:"was,omitempty"`

	// LostTo is the source that set it earlier, or overrides it later: then this change
	// has no effect.
	LostTo string `json:"lostTo,omitempty"`
}

// Bundle stands for config.json as a source.
const Bundle = "config.json"

// The kinds of changes.
const (
	Drop       = "drop"       // a field or a mount is removed
	Set        = "set"        // a field has the value
	Env        = "env"        // a variable has the value
	EnvUnset   = "unset"      // the variable is taken away
	EnvPrepend = "prepend"    // the variable's list begins with the value
	Namespace  = "namespace"  // the value is a path to join, empty for a new one
	Mount      = "mount"      // of the value, a source and options
	Device     = "device"     // the value is type, numbers and access
	Directory  = "directory"  // made for the container, together with what other edits put there
	Link       = "link"       // to the value
	File       = "file"       // made for the container, with the size as value
	Hook       = "hook"       // the value is the command
	Annotation = "annotation" // has the value
	Group      = "group"      // an additional group of the process
	Nothing    = "nothing"    // an edit that changes nothing; its rule says why
)

// List describes what the edits do, in their order, to a configuration without any of
// them.
func List(before *specs.Spec, edits []bundle.Edit) []Change {
	l := &list{owners: map[string]owner{}}
	l.seed(before)
	for _, e := range edits {
		l.from, l.rule = e.From, e.Rule
		before := len(l.changes)
		l.edit(e)
		if len(l.changes) == before && e.Rule != "" {
			l.changes = append(l.changes, Change{From: e.From, Rule: e.Rule, Kind: Nothing, Name: "is changed"})
		}
	}
	return l.changes
}

// An owner is the source of a current value.
type owner struct {
	who   string
	value string
	at    int // index in the changes; -1 for config.json's
}

type list struct {
	changes    []Change
	owners     map[string]owner // by kind and name
	mounts     []specs.Mount    // as they are now
	from, rule string
}

// seed records what the configuration contains.
func (l *list) seed(s *specs.Spec) {
	own := func(kind, name, value string) { l.owners[key(kind, name)] = owner{Bundle, value, -1} }
	l.mounts = slices.Clone(s.Mounts)
	for _, m := range s.Mounts {
		own(Mount, m.Destination, source(m))
	}
	for name, value := range s.Annotations {
		own(Annotation, name, value)
	}
	if p := s.Process; p != nil {
		for _, entry := range p.Env {
			name, value, _ := strings.Cut(entry, "=")
			own(Env, name, value)
		}
		own(Set, "process.args", strings.Join(p.Args, " "))
		own(Set, "process.cwd", p.Cwd)
		own(Set, "process.user", user(p.User))
		if p.Capabilities != nil {
			own(Set, "process.capabilities", capabilities(p.Capabilities))
		}
	}
	if s.Root != nil {
		own(Set, "root.path", s.Root.Path)
		own(Set, "root.readonly", strconv.FormatBool(s.Root.Readonly))
	}
	if s.Linux == nil {
		return
	}
	for _, d := range s.Linux.Devices {
		own(Device, d.Path, numbers(d))
	}
	for _, ns := range s.Linux.Namespaces {
		own(Namespace, string(ns.Type), ns.Path)
	}
	if len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0 {
		own(Set, "linux.uidMappings", mappings(s.Linux.UIDMappings))
		own(Set, "linux.gidMappings", mappings(s.Linux.GIDMappings))
	}
	if s.Linux.Seccomp != nil {
		own(Set, "linux.seccomp", seccomp(s.Linux.Seccomp))
	}
}

// key identifies what two changes can conflict over. A mount, a file and a directory at
// the same path conflict.
func key(kind, name string) string {
	switch kind {
	case File, Directory:
		kind = Mount
	case EnvPrepend:
		kind = Env
	}
	switch {
	case kind == Mount:
		name = path.Clean("/" + name)
	case strings.HasPrefix(name, "/") && kind != Set:
		name = path.Clean(name)
	}
	return kind + " " + name
}

// add records a change that replaces an existing value.
func (l *list) add(kind, name, value string) {
	c := Change{Kind: kind, Name: name, Value: value, From: l.from, Rule: l.rule}
	k := key(kind, name)
	if old, ok := l.owners[k]; ok && old.value != value {
		c.Over, c.Was = old.who, old.value
		if old.at >= 0 && l.changes[old.at].Kind != EnvPrepend {
			l.changes[old.at].LostTo = l.from
		}
	}
	l.owners[k] = owner{l.from, value, len(l.changes)}
	l.changes = append(l.changes, c)
}

// offer records a variable that is set only if it is unset.
func (l *list) offer(name, value string) {
	if old, ok := l.owners[key(Env, name)]; ok {
		l.changes = append(l.changes, Change{Kind: Env, Name: name, Value: value, From: l.from, Rule: l.rule, LostTo: old.who})
		return
	}
	l.add(Env, name, value)
}

// plain records a change that cannot conflict.
func (l *list) plain(kind, name, value string) {
	l.changes = append(l.changes, Change{Kind: kind, Name: name, Value: value, From: l.from, Rule: l.rule})
}

// edit follows an edit in the order of bundle.Apply.
func (l *list) edit(e bundle.Edit) {
	for _, field := range e.Drop {
		l.drop(field)
	}
	for _, dir := range e.DropMounts {
		l.dropMounts(dir)
	}
	l.environment(e)
	l.process(e)
	l.mount(e)
	for _, d := range e.Devices {
		l.add(Device, d.Path, device(d))
		if isBound(d) {
			l.mounts = bundle.Edit{Mounts: []specs.Mount{{Destination: d.Path}}}.MergeMounts(l.mounts)
		}
	}
	for _, dir := range e.Directories {
		l.add(Directory, dir, "")
	}
	for _, link := range e.Links {
		l.add(Link, link.Path, link.Target)
	}
	for _, f := range e.Files {
		l.add(File, f.Path, strconv.Itoa(len(f.Data))+" bytes")
	}
	for _, h := range hooks(e.Hooks) {
		l.plain(Hook, h.moment, strings.Join(append([]string{h.Path}, h.Args[min(1, len(h.Args)):]...), " "))
	}
	for _, name := range sortedKeys(e.Annotations) {
		l.add(Annotation, name, e.Annotations[name])
	}
	for _, ns := range e.Namespaces {
		l.add(Namespace, string(ns.Type), ns.Path)
	}
}

func (l *list) environment(e bundle.Edit) {
	for _, name := range e.EnvUnset {
		l.plain(EnvUnset, name, "")
	}
	for _, entry := range e.Env {
		name, value, _ := strings.Cut(entry, "=")
		l.add(Env, name, value)
	}
	for _, entry := range e.EnvDefault {
		name, value, _ := strings.Cut(entry, "=")
		l.offer(name, value)
	}
	for _, entry := range e.EnvPrepend {
		name, value, _ := strings.Cut(entry, "=")
		l.plain(EnvPrepend, name, value)
		if _, ok := l.owners[key(Env, name)]; !ok {
			l.owners[key(Env, name)] = owner{l.from, value, len(l.changes) - 1}
		}
	}
}

// process records fields with a single value.
func (l *list) process(e bundle.Edit) {
	if e.User != nil {
		l.add(Set, "process.user", user(*e.User))
	}
	for _, gid := range e.AdditionalGids {
		l.plain(Group, strconv.FormatUint(uint64(gid), 10), "")
	}
	if len(e.Args) > 0 {
		l.add(Set, "process.args", strings.Join(e.Args, " "))
	}
	if e.Cwd != "" {
		l.add(Set, "process.cwd", e.Cwd)
	}
	if e.NoNewPrivileges {
		l.add(Set, "process.noNewPrivileges", "true")
	}
	if e.Terminal {
		l.add(Set, "process.terminal", "true")
	}
	if e.RootPath != "" {
		l.add(Set, "root.path", e.RootPath)
	}
	if e.RootReadonly {
		l.add(Set, "root.readonly", "true")
	}
	if e.Layer != nil {
		l.add(Set, "root.layer", e.Layer.String())
	}
	if e.Capabilities != nil {
		l.add(Set, "process.capabilities", capabilities(e.Capabilities))
	}
	if len(e.UIDMappings) > 0 {
		l.add(Set, "linux.uidMappings", mappings(e.UIDMappings))
	}
	if len(e.GIDMappings) > 0 {
		l.add(Set, "linux.gidMappings", mappings(e.GIDMappings))
	}
	if e.Seccomp != nil {
		l.add(Set, "linux.seccomp", seccomp(e.Seccomp))
	}
}

// drop removes a field, and everything below it.
func (l *list) drop(field string) {
	l.plain(Drop, field, "")
	switch field {
	case "linux.namespaces":
		l.forget(func(k string) bool { return strings.HasPrefix(k, Namespace+" ") })
	case "linux.devices":
		l.forget(func(k string) bool { return strings.HasPrefix(k, Device+" ") })
	case "process.capabilities":
		l.forget(func(k string) bool { return k == key(Set, "process.capabilities") })
	case "linux.mappings":
		l.forget(func(k string) bool { return k == key(Set, "linux.uidMappings") || k == key(Set, "linux.gidMappings") })
	}
}

func (l *list) forget(which func(key string) bool) {
	for k := range l.owners {
		if which(k) {
			delete(l.owners, k)
		}
	}
}

func device(d bundle.Device) string {
	value := numbers(d.LinuxDevice)
	if d.Access != "" {
		value += " " + d.Access
	}
	if isBound(d) {
		value += " of " + d.HostPath
	}
	return value
}

// isBound reports whether the device is a mount of one at another path of the host.
func isBound(d bundle.Device) bool {
	return d.HostPath != "" && path.Clean(d.HostPath) != path.Clean(d.Path)
}

func numbers(d specs.LinuxDevice) string { return fmt.Sprintf("%s %d:%d", d.Type, d.Major, d.Minor) }

func capabilities(c *specs.LinuxCapabilities) string {
	return strings.Join(c.Bounding, " ")
}

// seccomp is what a filter does with system calls, without their names: of those there may be
// hundreds.
func seccomp(s *specs.LinuxSeccomp) string {
	names := 0
	for _, call := range s.Syscalls {
		names += len(call.Names)
	}
	return fmt.Sprintf("%s, rules for %d system calls", s.DefaultAction, names)
}

func user(u specs.User) string { return fmt.Sprintf("%d:%d", u.UID, u.GID) }

func mappings(list []specs.LinuxIDMapping) string {
	var all []string
	for _, m := range list {
		all = append(all, fmt.Sprintf("%d:%d:%d", m.ContainerID, m.HostID, m.Size))
	}
	return strings.Join(all, " ")
}
