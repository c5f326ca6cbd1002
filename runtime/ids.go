package runtime

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// ids are the users and groups that a user namespace maps. They decide what can be done in
// it, not whether the caller is root: root of `unshare -r` has only one id.
type ids struct{ uids, gids []specs.LinuxIDMapping }

// idsOf returns the ids of the container; ok is false if only the kernel knows them.
func idsOf(spec *specs.Spec) (all ids, ok bool) {
	ns := namespace(spec, specs.UserNamespace)
	switch {
	case ns == nil:
		return ownIDs()
	case ns.Path != "" || spec.Linux == nil || len(spec.Linux.UIDMappings) == 0 || len(spec.Linux.GIDMappings) == 0:
		return ids{}, false
	}
	return ids{spec.Linux.UIDMappings, spec.Linux.GIDMappings}, true
}

// ownIDs returns the ids of the user namespace that this process is in.
func ownIDs() (ids, bool) {
	uids, uerr := readMappings("self", "uid_map")
	gids, gerr := readMappings("self", "gid_map")
	return ids{uids, gids}, uerr == nil && gerr == nil && len(uids) > 0 && len(gids) > 0
}

// foreign reports whether a mount option names an id that does not exist in the namespace,
// such as gid=5 of /dev/pts.
func (all ids) foreign(option string) bool {
	name, value, _ := strings.Cut(option, "=")
	if name != "uid" && name != "gid" {
		return false
	}
	id, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return false
	}
	if name == "uid" {
		return !mapped(uint32(id), all.uids)
	}
	return !mapped(uint32(id), all.gids)
}

// withoutForeignIDs leaves out mount options with ids that do not exist in the container:
// the kernel refuses them.
func withoutForeignIDs(spec *specs.Spec) bundle.Edit {
	e := bundle.Edit{From: "ids"}
	named := func(option string) bool {
		return strings.HasPrefix(option, "uid=") || strings.HasPrefix(option, "gid=")
	}
	var all ids
	known := false
	for _, m := range spec.Mounts {
		if !slices.ContainsFunc(m.Options, named) {
			continue
		}
		if !known {
			if all, known = idsOf(spec); !known {
				return e
			}
		}
		if slices.ContainsFunc(m.Options, all.foreign) {
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), all.foreign)
			e.Mounts = append(e.Mounts, m)
		}
	}
	return e
}

// hasLockedMounts reports whether the container gets copies of mounts from a more
// privileged user namespace. What those mounts hide or forbid cannot be undone in the
// copies (mount_namespaces(7)).
func hasLockedMounts(spec *specs.Spec) bool {
	return namespace(spec, specs.UserNamespace) != nil || userns.RunningInUserNS()
}
