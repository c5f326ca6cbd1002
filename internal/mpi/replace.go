package mpi

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// A replacement is the site's MPI going over the image's.
type replacement struct {
	*plan
	who     string // for messages
	profile *Profile
	uses    []*use // what it takes the place of
	site    Library
	dir     string // in the container, for what has no place in the image

	replace []*object // the site's libraries
	used    []*object // the MPI, and those of the others that the image has, too
	needed  *process  // they, with what they need
	fabric  provision

	// given are the libraries that could come from the node, by each name.
	given map[string]*object
	// over are those that go over a path of the image's.
	over map[string]*object
	// added are the names that the loader's cache is to know.
	added map[string]*object
}

// replace puts the site's MPI in place, or says as ErrMismatch why it cannot.
func (p *plan) replace(profile *Profile, uses []*use) error {
	r := &replacement{
		plan: p, uses: uses, who: "mpi." + profile.Name, profile: profile, dir: bundle.PrivateDir(p.Mounts, "mpi"),
		given: map[string]*object{}, over: map[string]*object{}, added: map[string]*object{},
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
	r.node.path = slices.Clone(r.profile.Closure)
	for _, path := range r.profile.Replace {
		o, err := r.node.open(path)
		if err != nil {
			return r.mismatch("the node's %s cannot be used: %v", path, err)
		}
		r.replace = append(r.replace, o)
		if dir := o.dir(); !slices.Contains(r.node.path, dir) {
			r.node.path = append(r.node.path, dir)
		}
		if site, ok := identifyMPI(o); ok && r.site.Family == "" {
			r.site = site
		}
	}
	if r.profile.Prefix != "" && r.source(r.profile.Prefix) == "" {
		return r.mismatch("the node has no %s, its prefix", r.profile.Prefix)
	}
	if r.site.Family == "" {
		return r.mismatch("none of its replace defines MPI_Init: %s", strings.Join(r.profile.Replace, ", "))
	}
	for _, dir := range r.pluginDirs() {
		r.node.readAhead(dir, r.node.plugins(dir))
	}
	return nil
}

// pluginDirs are those of the MPI itself: as a prefix it brings them.
func (r *replacement) pluginDirs() []string {
	if r.profile.Prefix == "" {
		return nil
	}
	return r.node.pluginDirs(r.site)
}

// compare is what can be known by the two libraries.
func (r *replacement) compare() error {
	for _, u := range r.uses {
		if why := compatible(r.profile.ABI, u.mpi, r.site); why != "" {
			return r.misfit(u, "%s", why)
		}
		if u.program != nil && strings.Contains(u.program.Interp, "ld-musl") || slices.ContainsFunc(u.mpi.object.Needed, ofMusl) {
			return r.misfit(u, "the program uses musl, and the site's MPI is made for glibc")
		}
	}
	return nil
}

// follow works out over which paths of the image the site's libraries go, and what they
// need on the node. What the image has not, such as a Fortran interface, is not given.
func (r *replacement) follow() error {
	r.cover()
	r.needed = r.node.load(r.used...)
	for _, m := range r.needed.missing {
		if !ofLibc(m.name) {
			return r.mismatch("the node has no %s, which its %s needs", m.name, m.by.at)
		}
	}
	r.give(r.needed)
	r.site.PMI = r.node.pmiOf(r.site, r.needed)
	return nil
}

// give lets what is loaded on the node take part, but for glibc, and for plugins that are
// nothing else: libmlx5.so.1 is a driver of verbs, and UCX's modules are linked with it.
func (r *replacement) give(p *process) {
	needed := map[string]bool{}
	for _, o := range r.fabric.libraries {
		needed[o.name()] = true
	}
	for _, o := range p.objects {
		for _, name := range o.Needed {
			needed[name] = true
		}
	}
	for name, o := range p.names {
		if !ofLibc(name) && !ofLibc(o.name()) && r.given[name] == nil && (needed[name] || !slices.Contains(r.fabric.plugins, o.object)) {
			r.given[name] = o.object
		}
	}
}

// cover finds every path at which the image's MPI may be found: a search path in the
// program goes before all others, and cannot be changed.
func (r *replacement) cover() {
	names := r.askedNames()
	dirs := r.searched()
	for _, site := range r.replace {
		has := site == r.site.object
		for _, name := range r.namesOf(site) {
			for _, name := range append([]string{name}, names[name]...) {
				for _, file := range r.image.cached(name) {
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

// coverLoaded puts a library of the site's over those that it takes the place of in a
// process, wherever they were found.
func (r *replacement) coverLoaded(u *use, site *object) (has bool) {
	if u.process == nil {
		return false
	}
	replaced := r.namesOf(site)
	for name, o := range u.process.names {
		if slices.Contains(replaced, plainName(name)) || slices.Contains(replaced, name) {
			r.coverFile(o.at, site)
			has = true
		}
	}
	return has
}

// askedNames are further names by which processes ask for libraries, by their plain ones.
func (r *replacement) askedNames() map[string][]string {
	asked := map[string][]string{}
	for _, u := range r.uses {
		if u.process == nil {
			continue
		}
		for name := range u.process.names {
			if plain := plainName(name); plain != name && !strings.Contains(name, "/") && !slices.Contains(asked[plain], name) {
				asked[plain] = append(asked[plain], name)
			}
		}
	}
	return asked
}

// searched lists the directories in which the libraries of the uses are searched.
func (r *replacement) searched() []string {
	dirs := r.image.libraryPath(nil)
	for _, u := range r.uses {
		dirs = append(dirs, u.loader.libraryPath(nil)...)
		if u.process == nil {
			continue
		}
		for _, o := range u.process.objects {
			dirs = append(dirs, u.loader.dirsFor(o, u.process)...)
		}
	}
	dirs = append(dirs, host.LibraryDirs(r.Arch)...)
	slices.Sort(dirs)
	var levels []string
	for _, dir := range slices.Compact(dirs) {
		levels = append(levels, r.image.levels(dir)...)
	}
	return levels
}

// namesOf are those under which a library of the site's takes the place of another.
func (r *replacement) namesOf(site *object) []string {
	names := []string{site.name()}
	if site == r.site.object {
		for _, name := range r.profile.When {
			if name != site.name() {
				names = append(names, name)
			}
		}
	}
	return names
}

// coverFile puts the site's library over a file, if that is one of the same kind.
func (r *replacement) coverFile(file string, site *object) bool {
	found := r.image.fitting(file)
	if found == nil {
		return false
	}
	if found.id == site.id || r.over[found.at] != nil {
		return true
	}
	if site == r.site.object {
		own, ok := identifyMPI(found)
		if !ok || own.Family != r.site.Family {
			return false
		}
	}
	r.over[found.at] = site
	return true
}

// instead is the rule by which the loader's findings become the node's.
func (r *replacement) instead(name string, found *object) *object {
	ours := r.given[name]
	switch {
	case found != nil && r.over[found.at] != nil:
		return moved(r.over[found.at], found.at)
	case ours == nil || found != nil && found.id == ours.id:
		return found
	case found == nil:
		r.added[name] = ours
	case !r.wins(name, ours, found):
		return found
	default:
		r.added[name] = ours
		if path := r.image.libraryPath(nil); r.image.search(name, path) != found || slices.Contains(path, found.dir()) {
			r.over[found.at] = ours // a search path leads there
			return moved(ours, found.at)
		}
	}
	return moved(ours, r.dir+"/lib/"+name)
}

// moved is the object as found at another path.
func moved(o *object, at string) *object {
	m := *o
	m.at = at
	return &m
}

// wins tells whether the node's library is to be used where the image has one of that
// name. What the fabric needs must fit the node; of others the newer one is right for
// both, for the same DT_SONAME promises that it can do what the older can.
func (r *replacement) wins(name string, ours, theirs *object) bool {
	return isMPIPart(name) || isFabricLibrary(name) || newer(ours, theirs)
}

// newer compares two libraries of one name: by the versions of symbols that count them
// up, else by the names of their files.
func newer(a, b *object) bool {
	for _, prefix := range []string{"GLIBCXX_", "GCC_"} {
		x, y := host.Greatest(prefix, a.Defines), host.Greatest(prefix, b.Defines)
		if x != "" && y != "" {
			return host.CompareVersions(x, y) > 0
		}
	}
	return host.CompareVersions(versionIn(path.Base(a.at)), versionIn(path.Base(b.at))) > 0
}
