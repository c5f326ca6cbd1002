package mpi

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// A replacement replaces the image's MPI by the site's.
type replacement struct {
	*plan
	who     string // for messages
	profile *Profile
	uses    []*use // the uses whose MPI it replaces
	site    Library
	dir     string // in the container, for files that have no place in the image

	replace []*linker.Object // the site's libraries
	used    []*linker.Object // the MPI, and those of the others that the image also has
	needed  *linker.Process  // used, with what they need
	fabric  provision

	// given are the libraries that may come from the host, by each of their names.
	given map[string]*linker.Object
	// over are the libraries that go over a path of the image, by path.
	over map[string]*linker.Object
	// added are the names to add to the loader's cache.
	added map[string]*linker.Object
}

// replace puts the site's MPI in place, or returns an ErrMismatch that says why it
// cannot.
func (p *plan) replace(profile *Profile, uses []*use) error {
	r := &replacement{
		plan: p, uses: uses, who: "mpi." + profile.Name, profile: profile, dir: bundle.PrivateDir(p.Mounts, "mpi"),
		given: map[string]*linker.Object{}, over: map[string]*linker.Object{}, added: map[string]*linker.Object{},
	}
	for _, step := range []func() error{r.openSite, r.compare, r.follow, r.findFabric, r.check} {
		if err := step(); err != nil {
			return err
		}
	}
	return r.emit()
}

func (r *replacement) mismatch(format string, args ...any) error {
	return &mismatch{who: r.who, reason: fmt.Sprintf(format, args...)}
}

// misfit is mismatch for one of the uses.
func (r *replacement) misfit(u *use, format string, args ...any) error {
	return &mismatch{who: r.who, reason: fmt.Sprintf(format, args...), use: u}
}

// openSite reads the site's libraries.
func (r *replacement) openSite() error {
	r.node.Path = slices.Clone(r.profile.Closure)
	for _, path := range r.profile.Replace {
		o, err := r.node.Open(path)
		if err != nil {
			return r.mismatch("the host's %s cannot be used: %v", path, err)
		}
		r.replace = append(r.replace, o)
		if dir := o.Dir(); !slices.Contains(r.node.Path, dir) {
			r.node.Path = append(r.node.Path, dir)
		}
		if site, ok := identifyMPI(o); ok && r.site.Family == "" {
			r.site = site
		}
	}
	if r.profile.Prefix != "" && r.source(r.profile.Prefix) == "" {
		return r.mismatch("the host has no %s, its prefix", r.profile.Prefix)
	}
	if r.site.Family == "" {
		return r.mismatch("no library of its replace defines MPI_Init: %s", strings.Join(r.profile.Replace, ", "))
	}
	for _, dir := range r.pluginDirs() {
		r.node.ReadAhead(dir, r.node.Plugins(dir))
	}
	return nil
}

// pluginDirs returns the plugin directories of the MPI itself: the prefix provides
// them.
func (r *replacement) pluginDirs() []string {
	if r.profile.Prefix == "" {
		return nil
	}
	return r.node.pluginDirs(r.site)
}

// compare checks what the two libraries alone can tell.
func (r *replacement) compare() error {
	for _, u := range r.uses {
		if why := compatible(r.profile.ABI, u.mpi, r.site); why != "" {
			return r.misfit(u, "%s", why)
		}
		if u.program != nil && strings.Contains(u.program.Interp, "ld-musl") || slices.ContainsFunc(u.mpi.object.Needed, linker.IsMusl) {
			return r.misfit(u, "the program uses musl, and the site's MPI is made for glibc")
		}
	}
	return nil
}

// follow works out which paths of the image the site's libraries cover, and what they
// need on the host. What the image lacks, such as a Fortran interface, is not given.
func (r *replacement) follow() error {
	r.cover()
	r.needed = r.node.Load(r.used...)
	for _, m := range r.needed.Missing {
		if !linker.IsLibc(m.Name) {
			return r.mismatch("the host has no %s, which its %s needs", m.Name, m.By.At)
		}
	}
	r.give(r.needed)
	r.site.PMI = r.node.pmiOf(r.site, r.needed)
	return nil
}

// give adds the libraries that the host's process loads, except glibc and pure plugins:
// libmlx5.so.1 is a driver of verbs, and UCX's modules are linked with it.
func (r *replacement) give(p *linker.Process) {
	needed := map[string]bool{}
	for _, o := range r.fabric.libraries {
		needed[o.Name()] = true
	}
	for _, o := range p.Objects {
		for _, name := range o.Needed {
			needed[name] = true
		}
	}
	for name, o := range p.Names {
		if !linker.IsLibc(name) && !linker.IsLibc(o.Name()) && r.given[name] == nil && (needed[name] || !slices.Contains(r.fabric.plugins, o.Object)) {
			r.given[name] = o.Object
		}
	}
}

// cover finds every path at which the image's MPI may be found: a search path in the
// program comes before all others, and cannot be changed.
func (r *replacement) cover() {
	names := r.askedNames()
	dirs := r.searched()
	for _, site := range r.replace {
		has := site == r.site.object
		for _, name := range r.namesOf(site) {
			for _, name := range append([]string{name}, names[name]...) {
				for _, file := range r.image.Cached(name) {
					has = r.coverFile(file, site) || has
				}
				for _, dir := range dirs {
					has = r.coverFile(dir+"/"+name, site) || has
				}
			}
		}
		for _, u := range r.uses {
			has = r.coverLoaded(u, site) || has
		}
		if !has {
			continue
		}
		r.used = append(r.used, site)
		for _, name := range r.namesOf(site) {
			r.given[name] = site
		}
	}
}

// coverLoaded puts a library of the site's over those that it replaces in a process,
// wherever they were found.
func (r *replacement) coverLoaded(u *use, site *linker.Object) (has bool) {
	if u.process == nil {
		return false
	}
	replaced := r.namesOf(site)
	for name, o := range u.process.Names {
		if slices.Contains(replaced, plainName(name)) || slices.Contains(replaced, name) {
			r.coverFile(o.At, site)
			has = true
		}
	}
	return has
}

// askedNames returns the names of bundled copies by which processes load libraries, by
// their plain names.
func (r *replacement) askedNames() map[string][]string {
	asked := map[string][]string{}
	for _, u := range r.uses {
		if u.process == nil {
			continue
		}
		for name := range u.process.Names {
			if plain := plainName(name); plain != name && !strings.Contains(name, "/") && !slices.Contains(asked[plain], name) {
				asked[plain] = append(asked[plain], name)
			}
		}
	}
	return asked
}

// searched lists the directories that are searched for the libraries of the uses.
func (r *replacement) searched() []string {
	dirs := r.image.LibraryPath(nil)
	for _, u := range r.uses {
		dirs = append(dirs, u.loader.LibraryPath(nil)...)
		if u.process == nil {
			continue
		}
		for _, o := range u.process.Objects {
			dirs = append(dirs, u.loader.DirsFor(o, u.process)...)
		}
	}
	dirs = append(dirs, linker.LibraryDirs(r.Arch)...)
	slices.Sort(dirs)
	var levels []string
	for _, dir := range slices.Compact(dirs) {
		levels = append(levels, r.image.Levels(dir)...)
	}
	return levels
}

// namesOf returns the names under which a library of the site's replaces another.
func (r *replacement) namesOf(site *linker.Object) []string {
	names := []string{site.Name()}
	if site == r.site.object {
		for _, name := range r.profile.When {
			if name != site.Name() {
				names = append(names, name)
			}
		}
	}
	return names
}

// coverFile puts the site's library over a file of the same kind.
func (r *replacement) coverFile(file string, site *linker.Object) bool {
	found := r.image.Fitting(file)
	if found == nil {
		return false
	}
	if found.ID == site.ID || r.over[found.At] != nil {
		return true
	}
	if site == r.site.object {
		own, ok := identifyMPI(found)
		if !ok || own.Family != r.site.Family {
			return false
		}
	}
	r.over[found.At] = site
	return true
}

// instead decides for each library that the loader finds whether the host's replaces
// it.
func (r *replacement) instead(name string, found *linker.Object) *linker.Object {
	ours := r.given[name]
	switch {
	case found != nil && r.over[found.At] != nil:
		return moved(r.over[found.At], found.At)
	case ours == nil || found != nil && found.ID == ours.ID:
		return found
	case found == nil:
		r.added[name] = ours
	case !r.wins(name, ours, found):
		return found
	default:
		r.added[name] = ours
		if path := r.image.LibraryPath(nil); r.image.Search(name, path) != found || slices.Contains(path, found.Dir()) {
			r.over[found.At] = ours // a search path leads there
			return moved(ours, found.At)
		}
	}
	return moved(ours, r.dir+"/lib/"+name)
}

// moved returns the object as if found at another path.
func moved(o *linker.Object, at string) *linker.Object {
	m, own := *o, *factsOf(o)
	m.At, m.Facts = at, &own
	return &m
}

// wins reports whether the host's library replaces the image's of the same name. The
// fabric's libraries must fit the host. For others the newer one works for both sides:
// the same DT_SONAME promises compatibility with the older one.
func (r *replacement) wins(name string, ours, theirs *linker.Object) bool {
	return isMPIPart(name) || isFabricLibrary(name) || newer(ours, theirs)
}

// newer compares two libraries of one name: by symbol versions that increase with each
// release, otherwise by their file names.
func newer(a, b *linker.Object) bool {
	for _, prefix := range []string{"GLIBCXX_", "GCC_"} {
		x, y := host.Greatest(prefix, a.Defines), host.Greatest(prefix, b.Defines)
		if x != "" && y != "" {
			return host.CompareVersions(x, y) > 0
		}
	}
	return host.CompareVersions(versionIn(path.Base(a.At)), versionIn(path.Base(b.At))) > 0
}
