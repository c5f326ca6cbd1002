package mpi

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// emit makes the edits for the decision.
func (r *replacement) emit() error {
	e := bundle.Edit{
		From: edited,
		Rule: fmt.Sprintf("mpi.%s: the site's %s, by %s, for the image's %s", r.profile.Name, r.site, r.site.PMI, r.uses[0].mpi),
	}
	r.emitPrivate(&e)
	if r.profile.Prefix != "" {
		e.Mounts = append(e.Mounts, BindOf(r.source(r.profile.Prefix), r.dir+"/prefix"))
		e.Env = append(e.Env, "OPAL_PREFIX="+r.dir+"/prefix")
	}
	for _, path := range r.profile.Bind {
		if source := r.source(path); source != "" {
			e.Mounts = append(e.Mounts, BindOf(source, path))
		}
	}
	e.Mounts = append(e.Mounts, r.fabric.mounts...)
	e.Devices = r.fabric.devices
	e.Env = slices.Concat(e.Env, r.fabric.set, r.profile.Set)
	e.EnvPrepend = slices.Concat(e.EnvPrepend, r.fabric.prepend, r.profile.Prepend)
	r.Edits = append(r.Edits, e)
	if u := r.firstCertain(); u != nil && slices.Contains(r.uses, u) {
		r.speaks = r.site
	}
	return nil
}

// source returns the path of a file or directory on the host, without symbolic links;
// empty if it does not exist.
func (r *replacement) source(path string) string {
	if path == "" {
		return ""
	}
	r.seen.Look(r.Host, path)
	resolved, err := r.Host.Resolve(path)
	if err != nil {
		return ""
	}
	return r.Host.HostPath(resolved)
}

// emitPrivate puts libraries over the image's, and makes the directory of libraries
// that the image finds in addition: links into the host's directories. Each of these is
// one mount, instead of one for each library.
func (r *replacement) emitPrivate(e *bundle.Edit) {
	for name := range r.given { // including what only plugins need
		if r.added[name] == nil {
			r.instead(name, r.image.Search(name, r.image.LibraryPath(nil)))
		}
	}
	for _, at := range slices.Sorted(maps.Keys(r.over)) {
		e.Mounts = append(e.Mounts, BindOf(r.over[at].File, at))
	}
	for _, site := range r.used {
		for _, name := range r.namesOf(site) {
			r.added[name] = site
		}
	}
	dirs := map[string]string{} // of the host, to ours
	lib := r.dir + "/lib"
	var entries []ldcache.Entry
	for _, name := range slices.Sorted(maps.Keys(r.added)) {
		file := r.added[name].File
		from := path.Dir(file)
		if dirs[from] == "" {
			dirs[from] = "node/" + strconv.Itoa(len(dirs))
			e.Mounts = append(e.Mounts, BindOf(from, r.dir+"/"+dirs[from]))
		}
		e.Links = append(e.Links, bundle.Link{Path: lib + "/" + name, Target: "../" + dirs[from] + "/" + path.Base(file)})
		entries = append(entries, ldcache.Entry{Name: name, Path: lib + "/" + name, Flags: ldcache.Flags(r.Arch)})
	}
	if r.image.Cache == nil {
		e.EnvPrepend = append(e.EnvPrepend, "LD_LIBRARY_PATH="+lib)
		return
	}
	r.emitFirst(e)
	cache := *r.image.Cache
	cache.Put(entries...)
	e.Files = append(e.Files, bundle.File{Path: ldcache.Path, Data: cache.Encode()})
}

// emitFirst makes programs that a command executes, and that are not known before, find
// the site's MPI before one in their DT_RUNPATH: a directory in LD_LIBRARY_PATH has
// only the site's MPI libraries. If the site requires more than the same interface, it
// is not used, since each program must be checked.
func (r *replacement) emitFirst(e *bundle.Edit) {
	if !r.wrapping || r.profile.ABI != ABIMajor && r.profile.ABI != "" || r.leavesCertain() {
		return
	}
	first := r.dir + "/first"
	for _, site := range r.used {
		for _, name := range r.namesOf(site) {
			e.Links = append(e.Links, bundle.Link{Path: first + "/" + name, Target: "../lib/" + name})
		}
	}
	e.EnvPrepend = append(e.EnvPrepend, "LD_LIBRARY_PATH="+first)
}

// leavesCertain reports whether a program is known to run on an MPI other than the
// site's.
func (r *replacement) leavesCertain() bool {
	return slices.ContainsFunc(r.plan.uses, func(u *use) bool { return u.certain && !slices.Contains(r.uses, u) })
}

// BindOf returns the mount for a file or directory of the host.
func BindOf(source, destination string) specs.Mount {
	return bundle.Bind(source, destination, "bind", "ro", "nosuid", "nodev", "rprivate")
}
