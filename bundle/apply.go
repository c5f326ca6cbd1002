package bundle

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// Apply merges edits into b.Spec, in order, and adds them to b.Applied. It is all or nothing:
// if one edit is wrong, b stays as it was and the error names that edit. These rules of
// merging are in no other place:
//
//   - What an edit drops is removed before anything of the edit is added.
//   - A variable replaces the one of the same name in place; otherwise it is appended. The
//     last edit wins. Names that config.json has more than once are collapsed to their last
//     entry, which keeps its place. That happens even without edits.
//   - Mounts by index come next: the mounts there are replaced, or come after the new ones.
//     An index counts the mounts as the edit finds them, without those it drops; an index
//     beyond the last mount stands for the end.
//   - A mount replaces the one at the same cleaned destination, in its place in the order of
//     mounting (the last one, if the spec stacks several); otherwise it is appended. The
//     mounts that one edit appends are ordered by depth, parents first, and otherwise kept
//     in order; they are not ordered against the spec's mounts, so a mount appended above
//     one of the spec's hides it.
//   - MountsFirst go before every mount that is there.
//   - A device node replaces the one at the same path; otherwise it is appended. The rule
//     that allows it comes after all others. A device node at another path of the host
//     becomes a bind mount.
//   - Directories, links and files are collected in the bundle; the last one at a path wins.
//   - Hooks run after those that are there. Groups are added once.
//   - A namespace replaces the one of the same type in place; otherwise it is appended.
//   - Mappings, user, capabilities, seccomp, arguments, directory, layer and root path
//     are replaced. Annotations are set by key.
//
// Afterwards edits share no memory with b.Spec or b.Applied. A wrong entry in the spec's own
// environment is the same error as from Validate: once entries are collapsed, its index
// would no longer match the file.
func (b *Bundle) Apply(edits ...Edit) error {
	if b.Spec == nil {
		return errors.New("apply edits: the bundle has no spec")
	}
	rootfs := b.Rootfs
	for _, e := range edits {
		found, err := b.check(e)
		if err != nil {
			return fmt.Errorf("apply edit %s: %w", text.Printable(e.From), err)
		}
		if found != "" {
			rootfs = found
		}
	}
	if err := b.applyEnv(edits); err != nil {
		return err
	}
	for _, e := range edits {
		b.merge(e)
		b.Applied = append(b.Applied, e.clone())
	}
	b.Rootfs = rootfs
	return nil
}

// check finds what is wrong with an edit, and resolves its root path if it has one.
func (b *Bundle) check(e Edit) (rootfs string, err error) {
	for _, bad := range []*ConfigError{
		checkDrops(e.Drop),
		checkNames("envUnset", e.EnvUnset),
		checkEnv("env", e.Env),
		checkEnv("envDefault", e.EnvDefault),
		checkEnv("envPrepend", e.EnvPrepend),
		checkMountsAt(e.MountsAt),
		checkMounts("mounts", e.Mounts),
		checkMounts("mountsFirst", e.MountsFirst),
		checkNamespaces("namespaces", e.Namespaces),
		checkMappings("uidMappings", e.UIDMappings),
		checkMappings("gidMappings", e.GIDMappings),
		checkInjected(e),
		checkHooks("hooks", e.Hooks),
	} {
		if bad != nil {
			return "", bad
		}
	}
	if b.Spec.Process == nil && e.needsProcess() {
		return "", invalid("process", "missing, so it cannot be edited")
	}
	if e.RootPath == "" {
		return "", nil
	}
	if !path.IsAbs(e.RootPath) {
		return "", invalid("rootPath", "%s is not an absolute path", text.Printable(e.RootPath))
	}
	if b.RootMount != nil && e.RootPath == b.RootMount.Name() {
		return e.RootPath, nil
	}
	rootfs, err = resolveRootfs("", e.RootPath)
	if err != nil {
		return "", invalid("rootPath", "%w", err)
	}
	return rootfs, nil
}

// needsProcess reports whether the edit changes the container's process.
func (e Edit) needsProcess() bool {
	return e.User != nil || e.Capabilities != nil || e.Terminal || len(e.EnvUnset)+len(e.Env)+len(e.EnvDefault)+len(e.EnvPrepend)+len(e.AdditionalGids) > 0
}

// applyEnv merges the environments of all edits at once: building the index of
// names costs more than anything else here.
func (b *Bundle) applyEnv(edits []Edit) error {
	if b.Spec.Process == nil {
		return nil
	}
	// After collapsing, the index of a wrong entry would differ from its index in the file.
	if bad := checkEnv("process.env", b.Spec.Process.Env); bad != nil {
		return b.blame(bad)
	}
	if len(b.Spec.Process.Env) == 0 && len(edits) == 0 {
		return nil
	}
	env := newEnviron(b.Spec.Process.Env)
	for _, e := range edits {
		for _, name := range e.EnvUnset {
			env.unset(name)
		}
		for _, entry := range e.Env {
			env.set(entry)
		}
		for _, entry := range e.EnvDefault {
			env.setDefault(entry)
		}
		for _, entry := range e.EnvPrepend {
			env.prepend(entry)
		}
	}
	b.Spec.Process.Env = env.entries
	return nil
}

// merge applies everything in a checked edit except its environment.
func (b *Bundle) merge(e Edit) {
	e = e.clone()
	b.drop(e)
	spec := b.Spec
	if e.User != nil {
		spec.Process.User = *e.User
	}
	for _, gid := range e.AdditionalGids {
		if !slices.Contains(spec.Process.User.AdditionalGids, gid) {
			spec.Process.User.AdditionalGids = append(spec.Process.User.AdditionalGids, gid)
		}
	}
	if e.Capabilities != nil {
		spec.Process.Capabilities = e.Capabilities
	}
	if e.Terminal {
		spec.Process.Terminal = true
	}
	if len(e.Args) > 0 {
		spec.Process.Args = e.Args
	}
	if e.Cwd != "" {
		spec.Process.Cwd = e.Cwd
	}
	if e.NoNewPrivileges {
		spec.Process.NoNewPrivileges = true
	}
	mergeRoot(spec, e)
	if e.Layer != nil {
		b.Layer = e.Layer
	}
	spec.Mounts = e.MergeMounts(spec.Mounts)
	b.Exact = append(b.Exact, e.Exact...)
	b.Directories = mergeByPath(b.Directories, e.Directories, path.Clean)
	b.Links = mergeByPath(b.Links, e.Links, linkPath)
	b.Files = mergeByPath(b.Files, e.Files, filePath)
	mergeHooks(spec, e.Hooks)
	if len(e.Annotations) > 0 {
		if spec.Annotations == nil {
			spec.Annotations = make(map[string]string, len(e.Annotations))
		}
		maps.Copy(spec.Annotations, e.Annotations)
	}
	mergeLinux(spec, e)
}

func mergeRoot(spec *specs.Spec, e Edit) {
	if e.RootPath == "" && !e.RootReadonly {
		return
	}
	if spec.Root == nil {
		spec.Root = new(specs.Root)
	}
	if e.RootPath != "" {
		spec.Root.Path = e.RootPath
	}
	spec.Root.Readonly = spec.Root.Readonly || e.RootReadonly
}

// mergeLinux applies what belongs to the linux section, and creates that section if needed.
func mergeLinux(spec *specs.Spec, e Edit) {
	if len(e.Namespaces)+len(e.UIDMappings)+len(e.GIDMappings)+len(e.Devices) == 0 && e.Seccomp == nil {
		return
	}
	if spec.Linux == nil {
		spec.Linux = new(specs.Linux)
	}
	mergeDevices(spec, e.Devices)
	spec.Linux.Namespaces = mergeNamespaces(spec.Linux.Namespaces, e.Namespaces)
	if len(e.UIDMappings) > 0 {
		spec.Linux.UIDMappings = e.UIDMappings
	}
	if len(e.GIDMappings) > 0 {
		spec.Linux.GIDMappings = e.GIDMappings
	}
	if e.Seccomp != nil {
		spec.Linux.Seccomp = e.Seccomp
	}
}

// mergeNamespaces replaces by type and appends the rest.
func mergeNamespaces(namespaces, edits []specs.LinuxNamespace) []specs.LinuxNamespace {
	for _, ns := range edits {
		same := func(other specs.LinuxNamespace) bool { return other.Type == ns.Type }
		if i := slices.IndexFunc(namespaces, same); i >= 0 {
			namespaces[i] = ns
			continue
		}
		namespaces = append(namespaces, ns)
	}
	return namespaces
}
