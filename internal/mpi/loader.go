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
	arch    string
	cache   *ldcache.Cache // nil without
	path    []string       // LD_LIBRARY_PATH, but for what it says of a program's place
	preload []string       // LD_PRELOAD
	always  []string       // what /etc/ld.so.preload adds
	cwd     string         // where relative search paths begin
	musl    bool           // it is musl's loader, which has rules of its own

	machine      *host.Tree // whose processor counts; nil for any
	usableLevels []string

	// instead is what is loaded in place of what was found; nil for what was found.
	// Its second argument is nil when nothing was.
	instead func(name string, found *object) *object

	// usual is what was found, or not, where all libraries are searched.
	usual map[string]found
}

// found is an object, and the directory in which it was searched.
type found struct {
	*object
	in string
}

// newLoader is one without a cache.
func newLoader(v *view, arch string, search []string) *loader {
	return &loader{view: v, arch: arch, path: search, cwd: "/", usual: map[string]found{}}
}

// loaded is an object in a process, and who needed it first; nil for the program.
type loaded struct {
	*object
	by     *loaded
	origin string // $ORIGIN of it: the directory in which it was searched, links and all

	preload bool
}

// A process is what the loader makes of a program.
type process struct {
	main    *loaded   // the program; nil for libraries on their own
	objects []*loaded // the program first, then in the order in which they are searched
	files   map[string]*loaded
	names   map[string]*loaded
	missing []missing
}

type missing struct {
	name string
	by   *loaded
}

func newProcess() *process {
	const usual = 16
	return &process{names: make(map[string]*loaded, usual), files: make(map[string]*loaded, usual)}
}

// load follows what libraries need that a process opens.
func (l *loader) load(roots ...*object) *process {
	p := newProcess()
	for _, o := range roots {
		p.add(o.name(), &loaded{object: o, origin: o.dir()})
	}
	l.follow(p, 0)
	return p
}

// start follows what a program needs, and then what it opens: names of libraries, as they
// are given to dlopen.
func (l *loader) start(program *object, opens ...string) *process {
	if strings.Contains(program.Interp, "ld-musl") && !l.musl {
		other := *l
		other.musl, other.usual = true, map[string]found{}
		return other.start(program, opens...)
	}
	p := newProcess()
	p.main = &loaded{object: program, origin: program.dir()}
	p.add(program.name(), p.main)
	for _, name := range slices.Concat(l.preload, l.always) {
		if o := l.find(name, p.main, p); o.object != nil { // the loader goes on without
			p.add(name, &loaded{object: o.object, by: p.main, origin: o.in, preload: true})
		}
	}
	l.follow(p, 0)
	for _, name := range opens {
		next := len(p.objects)
		l.dlopen(name, p)
		l.follow(p, next)
	}
	return p
}

// dlopen loads what the program or a library of it opens: the search paths of whoever
// does count, but later not those of what needed that.
func (l *loader) dlopen(name string, p *process) {
	if p.names[name] != nil {
		return
	}
	for i, by := range p.objects {
		if i > 0 && len(by.RunPath) == 0 && len(by.RPath) == 0 {
			continue
		}
		if o := l.find(name, by, p); o.object != nil {
			p.add(name, &loaded{object: o.object, origin: o.in})
			return
		}
		if strings.Contains(name, "/") {
			break
		}
	}
	p.missing = append(p.missing, missing{name, p.main})
}

// follow loads what objects need, breadth first, as the loader does.
func (l *loader) follow(p *process, next int) {
	const most = 2000
	for ; next < len(p.objects) && next < most; next++ {
		by := p.objects[next]
		for _, name := range by.Needed {
			l.need(name, by, p)
		}
	}
}

// need loads a library, unless it is there under that name.
func (l *loader) need(name string, by *loaded, p *process) {
	if p.names[name] != nil {
		return
	}
	o := l.find(name, by, p)
	if o.object == nil {
		p.missing = append(p.missing, missing{name, by})
		return
	}
	p.add(name, &loaded{object: o.object, by: by, origin: o.in})
}

// isPreload reports whether an object is there because something is preloaded.
func (p *process) isPreload(o *loaded) bool {
	for ; o != nil; o = o.by {
		if o.preload {
			return true
		}
	}
	return false
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

// find searches a library that an object needs, or, without one, that is opened.
func (l *loader) find(name string, by *loaded, p *process) found {
	f := l.lookFor(name, by, p)
	if l.instead == nil {
		return f
	}
	o := l.instead(path.Base(name), f.object)
	if o == nil {
		return found{}
	}
	if o != f.object && (f.object == nil || o.at != f.at) {
		f.in = o.dir() // it was found elsewhere then
	}
	return found{o, f.in}
}

func (l *loader) lookFor(name string, by *loaded, p *process) found {
	if strings.Contains(name, "/") {
		for _, file := range l.expand([]string{name}, by) {
			if o := l.fitting(file); o != nil {
				return found{o, path.Dir(file)}
			}
		}
		return found{}
	}
	for _, dir := range l.dirsFor(by, p) {
		if f := l.inLevels(dir, name); f.object != nil {
			return f
		}
	}
	if by != nil && by.NoDefaultLib {
		return l.lookInUsual(name, true)
	}
	return l.inUsual(name)
}

func (l *loader) inUsual(name string) found {
	f, ok := l.usual[name]
	if !ok {
		f = l.lookInUsual(name, false)
		l.usual[name] = f
	}
	return f
}

// search finds a library by its name in directories, and then in the usual places.
func (l *loader) search(name string, dirs []string) *object {
	for _, dir := range dirs {
		if f := l.inLevels(dir, name); f.object != nil {
			return f.object
		}
	}
	return l.inUsual(name).object
}

// lookInUsual searches the cache and the usual directories. An object may say that the
// latter are not for what it needs, and then they are not by way of the cache.
func (l *loader) lookInUsual(name string, notUsual bool) found {
	for _, file := range l.cached(name) {
		if notUsual && slices.Contains(l.usualDirs(), path.Dir(file)) {
			continue
		}
		if o := l.fitting(file); o != nil {
			return found{o, path.Dir(file)}
		}
	}
	if notUsual {
		return found{}
	}
	for _, dir := range l.usualDirs() {
		if f := l.inLevels(dir, name); f.object != nil {
			return f
		}
	}
	return found{}
}

func (l *loader) usualDirs() []string {
	if l.musl {
		return l.muslDirs()
	}
	return host.LibraryDirs(l.arch)
}

// cached lists where the cache has a library.
func (l *loader) cached(name string) []string {
	if l.cache == nil || l.musl {
		return nil
	}
	files := l.cache.Lookup(name, ldcache.Flags(l.arch))
	return slices.DeleteFunc(files, func(file string) bool { return !l.isUsable(file) })
}

// inLevels searches a library in a directory and in those below it that are for newer
// processors.
func (l *loader) inLevels(dir, name string) found {
	for _, level := range l.levels(dir) {
		if o := l.fittingIn(level, name); o != nil {
			return found{o, level}
		}
	}
	return found{}
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
	if strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") || ofMusl(name) {
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

// ofMusl recognises musl's library and loader, which are one.
func ofMusl(name string) bool {
	return strings.HasPrefix(name, "libc.musl-") || strings.HasPrefix(name, "ld-musl-")
}
