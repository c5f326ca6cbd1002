// Package linker finds libraries as the dynamic loader of a tree would, ld.so(8), without
// running it: by search paths, preloads, the loader's cache and the usual directories. The
// tree is an image with a container's mounts, or the host itself.
package linker

import (
	"debug/elf"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A Loader finds libraries as glibc's does, ld.so(8): by DT_RPATH, LD_LIBRARY_PATH,
// DT_RUNPATH, the cache, and the usual directories.
type Loader struct {
	*View
	Arch    string
	Cache   *ldcache.Cache // nil without a cache
	Path    []string       // LD_LIBRARY_PATH, without elements that depend on the program's place
	preload []string       // LD_PRELOAD
	always  []string       // libraries from /etc/ld.so.preload
	cwd     string         // where relative search paths begin
	musl    bool           // follow the rules of musl's loader

	Machine      *host.Tree // the host whose processor counts; nil for any processor
	usableLevels []string

	instead func(name string, found *Object) *Object // replaces what was found; nil to keep it

	// usual caches results, also negative ones, of the search that is the same for all
	// objects.
	usual map[string]Found
}

// Found is an object, and the directory that was searched for it.
type Found struct {
	*Object
	in string

	By Way // how it was found; empty if the loader was given a path
}

// A Way is how the loader found a library.
type Way string

// The ways.
const (
	BySearchPath Way = "search path" // of the object that needs it, or LD_LIBRARY_PATH
	ByCache      Way = "ld.so.cache"
	ByDefault    Way = "standard directories"
)

// New returns a loader without a cache, which searches the directories first.
func New(v *View, arch string, search []string) *Loader {
	return &Loader{View: v, Arch: arch, Path: search, cwd: "/", usual: map[string]Found{}}
}

// Musl returns a loader that follows the rules of musl.
func (l *Loader) Musl() *Loader {
	other := *l
	other.musl, other.usual = true, map[string]Found{}
	return &other
}

// With returns a loader that may load another object in place of what it finds. The
// second argument of instead is nil if it finds nothing.
func (l *Loader) With(instead func(name string, found *Object) *Object) *Loader {
	other := *l
	other.instead = instead
	return &other
}

// Loaded is an object in a process, and the object that needed it first; nil for the
// program.
type Loaded struct {
	*Object
	By     *Loaded
	origin string // its $ORIGIN: the directory that was searched, with links unresolved

	preload bool
}

// A Process is what the loader makes of a program.
type Process struct {
	Main    *Loaded   // the program; nil for libraries without one
	Objects []*Loaded // the program first, then in the order of loading
	files   map[string]*Loaded
	Names   map[string]*Loaded
	Missing []Missing
}

// A Missing is a library that the loader does not find, and the object that needs it.
type Missing struct {
	Name string
	By   *Loaded
}

func newProcess() *Process {
	const usual = 16
	return &Process{Names: make(map[string]*Loaded, usual), files: make(map[string]*Loaded, usual)}
}

// Load loads libraries and what they need, as for a process that opens them.
func (l *Loader) Load(roots ...*Object) *Process {
	p := newProcess()
	for _, o := range roots {
		p.add(o.Name(), &Loaded{Object: o, origin: o.Dir()})
	}
	l.follow(p, 0)
	return p
}

// Start loads what a program needs, and then the libraries that it opens, by the names
// that it passes to dlopen.
func (l *Loader) Start(program *Object, opens ...string) *Process {
	if strings.Contains(program.Interp, "ld-musl") && !l.musl {
		return l.Musl().Start(program, opens...)
	}
	p := newProcess()
	p.Main = &Loaded{Object: program, origin: program.Dir()}
	p.add(program.Name(), p.Main)
	for _, name := range slices.Concat(l.preload, l.always) {
		if o := l.Find(name, p.Main, p); o.Object != nil { // the loader ignores missing ones
			p.add(name, &Loaded{Object: o.Object, By: p.Main, origin: o.in, preload: true})
		}
	}
	l.follow(p, 0)
	for _, name := range opens {
		next := len(p.Objects)
		l.dlopen(name, p)
		l.follow(p, next)
	}
	return p
}

// dlopen loads a library that the program or one of its libraries opens: the search
// paths of each count, but not those of the objects that needed it.
func (l *Loader) dlopen(name string, p *Process) {
	if p.Names[name] != nil {
		return
	}
	for i, by := range p.Objects {
		if i > 0 && len(by.RunPath) == 0 && len(by.RPath) == 0 {
			continue
		}
		if o := l.Find(name, by, p); o.Object != nil {
			p.add(name, &Loaded{Object: o.Object, origin: o.in})
			return
		}
		if strings.Contains(name, "/") {
			break
		}
	}
	p.Missing = append(p.Missing, Missing{name, p.Main})
}

// follow loads what objects need, breadth first, as the loader does.
func (l *Loader) follow(p *Process, next int) {
	const most = 2000
	for ; next < len(p.Objects) && next < most; next++ {
		by := p.Objects[next]
		for _, name := range by.Needed {
			l.need(name, by, p)
		}
	}
}

// need loads a library, unless one with that name is loaded.
func (l *Loader) need(name string, by *Loaded, p *Process) {
	if p.Names[name] != nil {
		return
	}
	o := l.Find(name, by, p)
	if o.Object == nil {
		p.Missing = append(p.Missing, Missing{name, by})
		return
	}
	p.add(name, &Loaded{Object: o.Object, By: by, origin: o.in})
}

// IsPreload reports whether an object was loaded because of a preload.
func (p *Process) IsPreload(o *Loaded) bool {
	for ; o != nil; o = o.By {
		if o.preload {
			return true
		}
	}
	return false
}

// add registers the object by the name it was requested by and by its own.
func (p *Process) add(name string, o *Loaded) {
	if same := p.files[o.File]; same != nil {
		p.Names[name] = same
		return
	}
	p.Objects = append(p.Objects, o)
	p.files[o.File] = o
	p.Names[name] = o
	if o.Soname != "" && p.Names[o.Soname] == nil {
		p.Names[o.Soname] = o
	}
}

// Find searches a library that an object needs or, if by is nil, that the program
// opens.
func (l *Loader) Find(name string, by *Loaded, p *Process) Found {
	f := l.lookFor(name, by, p)
	if l.instead == nil {
		return f
	}
	o := l.instead(path.Base(name), f.Object)
	if o == nil {
		return Found{}
	}
	if o != f.Object && (f.Object == nil || o.At != f.At) {
		f.in = o.Dir() // the path leads to another directory
	}
	return Found{o, f.in, f.By}
}

func (l *Loader) lookFor(name string, by *Loaded, p *Process) Found {
	if strings.Contains(name, "/") {
		for _, file := range l.expand([]string{name}, by) {
			if o := l.Fitting(file); o != nil {
				return Found{o, path.Dir(file), ""}
			}
		}
		return Found{}
	}
	for _, dir := range l.DirsFor(by, p) {
		if f := l.inLevels(dir, name, BySearchPath); f.Object != nil {
			return f
		}
	}
	if by != nil && by.NoDefaultLib {
		return l.lookInUsual(name, true)
	}
	return l.inUsual(name)
}

func (l *Loader) inUsual(name string) Found {
	f, ok := l.usual[name]
	if !ok {
		f = l.lookInUsual(name, false)
		l.usual[name] = f
	}
	return f
}

// Search finds a library by its name in directories, and then in the usual places.
func (l *Loader) Search(name string, dirs []string) *Object {
	for _, dir := range dirs {
		if f := l.inLevels(dir, name, BySearchPath); f.Object != nil {
			return f.Object
		}
	}
	return l.inUsual(name).Object
}

// lookInUsual searches the cache and the usual directories. An object may exclude the
// latter for what it needs, which also excludes cache entries that lead there.
func (l *Loader) lookInUsual(name string, notUsual bool) Found {
	for _, file := range l.Cached(name) {
		if notUsual && slices.Contains(l.usualDirs(), path.Dir(file)) {
			continue
		}
		if o := l.Fitting(file); o != nil {
			return Found{o, path.Dir(file), ByCache}
		}
	}
	if notUsual {
		return Found{}
	}
	for _, dir := range l.usualDirs() {
		if f := l.inLevels(dir, name, ByDefault); f.Object != nil {
			return f
		}
	}
	return Found{}
}

func (l *Loader) usualDirs() []string {
	if l.musl {
		return l.muslDirs()
	}
	return LibraryDirs(l.Arch)
}

// Cached lists where the cache has a library.
func (l *Loader) Cached(name string) []string {
	if l.Cache == nil || l.musl {
		return nil
	}
	files := l.Cache.Lookup(name, ldcache.Flags(l.Arch))
	return slices.DeleteFunc(files, func(file string) bool { return !l.isUsable(file) })
}

// inLevels searches a library in a directory and in its subdirectories for newer
// processors.
func (l *Loader) inLevels(dir, name string, by Way) Found {
	for _, level := range l.Levels(dir) {
		if o := l.FittingIn(level, name); o != nil {
			return Found{o, level, by}
		}
	}
	return Found{}
}

// Fitting opens a library of the architecture; the loader skips others.
func (l *Loader) Fitting(file string) *Object { return l.FittingIn(Split(file)) }

// FittingIn is Fitting for a name in a directory; nil if not found.
func (l *Loader) FittingIn(dir, name string) *Object {
	o := l.openIn(dir, name)
	if o == nil || o.Class != elf.ELFCLASS64 || o.Machine != host.Machine(l.Arch) {
		return nil
	}
	return o
}
