package mpi

import (
	"debug/elf"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/ldcache"
)

// A loader finds libraries as glibc's would, ld.so(8): DT_RPATH, LD_LIBRARY_PATH,
// DT_RUNPATH, the cache, the usual directories.
type loader struct {
	*view
	arch  string
	cache *ldcache.Cache // nil without
	path  []string       // LD_LIBRARY_PATH

	// instead is what is loaded in place of what was found; nil for what was found.
	// Its second argument is nil when nothing was.
	instead func(name string, found *object) *object

	// usual is what was found, or not, where all libraries are searched.
	usual map[string]*object
}

// newLoader is one without a cache.
func newLoader(v *view, arch string, search []string) *loader {
	return &loader{view: v, arch: arch, path: search, usual: map[string]*object{}}
}

// loaded is an object in a process, and who needed it first; nil for the program.
type loaded struct {
	*object
	by *loaded
}

// A process is what the loader makes of a program.
type process struct {
	objects []*loaded // the program first, then in the order in which they are searched
	files   map[string]*loaded
	names   map[string]*loaded
	missing []missing
}

type missing struct {
	name string
	by   *loaded
}

// load follows what the objects need, breadth first, as the loader does.
func (l *loader) load(roots ...*object) *process {
	p := &process{names: make(map[string]*loaded, 2*len(roots)), files: make(map[string]*loaded, 2*len(roots))}
	for _, o := range roots {
		p.add(o.name(), &loaded{object: o})
	}
	const most = 2000
	for i := 0; i < len(p.objects) && i < most; i++ {
		by := p.objects[i]
		dirs := l.dirsFor(by)
		for _, name := range by.Needed {
			if p.names[name] != nil {
				continue
			}
			o := l.find(name, dirs)
			if o == nil {
				p.missing = append(p.missing, missing{name, by})
				continue
			}
			p.add(name, &loaded{object: o, by: by})
		}
	}
	return p
}

// add lets the object be known by the name it was asked for and by its own.
func (p *process) add(name string, o *loaded) {
	if same := p.files[o.file]; same != nil {
		p.names[name] = same
		return
	}
	p.objects = append(p.objects, o)
	p.files[o.file] = o
	p.names[name] = o
	if o.Soname != "" && p.names[o.Soname] == nil {
		p.names[o.Soname] = o
	}
}

// find searches a library that an object needs, in directories that go before the usual.
func (l *loader) find(name string, dirs []string) *object {
	found := l.search(name, dirs)
	if l.instead != nil {
		return l.instead(path.Base(name), found)
	}
	return found
}

func (l *loader) search(name string, dirs []string) *object {
	if strings.Contains(name, "/") {
		return l.fitting(name)
	}
	for _, dir := range dirs {
		if o := l.fittingIn(dir, name); o != nil {
			return o
		}
	}
	o, ok := l.usual[name]
	if !ok {
		o = l.searchUsual(name)
		l.usual[name] = o
	}
	return o
}

func (l *loader) searchUsual(name string) *object {
	for _, file := range l.cached(name) {
		if o := l.fitting(file); o != nil {
			return o
		}
	}
	for _, dir := range host.LibraryDirs(l.arch) {
		if o := l.fittingIn(dir, name); o != nil {
			return o
		}
	}
	return nil
}

// cached lists where the cache has a library.
func (l *loader) cached(name string) []string {
	if l.cache == nil {
		return nil
	}
	return l.cache.Lookup(name, ldcache.Flags(l.arch))
}

// dirsFor lists the directories that are searched before the cache.
func (l *loader) dirsFor(by *loaded) []string {
	if len(by.RunPath) > 0 {
		return slices.Concat(l.path, l.expand(by.RunPath, by))
	}
	var dirs []string
	for o := by; o != nil; o = o.by {
		if len(o.RunPath) == 0 {
			dirs = append(dirs, l.expand(o.RPath, o)...)
		}
	}
	if dirs == nil {
		return l.path
	}
	return append(dirs, l.path...)
}

// expand replaces what a path may say of where its object is. Of $LIB there are two
// readings, by distribution.
func (l *loader) expand(list []string, o *loaded) []string {
	var dirs []string
	for _, dir := range list {
		variable := strings.Contains(dir, "$")
		if variable {
			for _, name := range []string{"$ORIGIN", "${ORIGIN}"} {
				dir = strings.ReplaceAll(dir, name, path.Dir(o.at))
			}
		}
		if !path.IsAbs(dir) {
			continue
		}
		if !variable || !strings.Contains(dir, "LIB") {
			dirs = append(dirs, dir)
			continue
		}
		for _, lib := range []string{"lib/" + host.Triplet(l.arch), "lib64"} {
			dirs = append(dirs, strings.NewReplacer("$LIB", lib, "${LIB}", lib).Replace(dir))
		}
	}
	return dirs
}

// fitting opens a library of the architecture; the loader passes over others.
func (l *loader) fitting(file string) *object { return l.fittingIn(split(file)) }

func (l *loader) fittingIn(dir, name string) *object {
	o := l.openIn(dir, name)
	if o == nil || o.Class != elf.ELFCLASS64 || o.Machine != host.Machine(l.arch) {
		return nil
	}
	return o
}

// ofLibc tells whether the library belongs to glibc itself: the image's own must be
// used, for its parts fit each other and its loader only.
func ofLibc(name string) bool {
	if strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") {
		return true
	}
	base, _, _ := strings.Cut(name, ".so")
	switch base {
	case "libc", "libm", "libmvec", "libpthread", "libdl", "librt", "libresolv", "libutil", "libanl", "libnsl",
		"libBrokenLocale", "libthread_db", "libnss_files", "libnss_dns", "libnss_compat", "libnss_hesiod":
		return true
	}
	return false
}
