package gpu

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A library is one to be found by the programs of the container.
type library struct {
	source string // on this machine; empty for one of the image's own
	path   string // in the image, for one of its own
	file   string // its name
	soname string // by which it is asked for
	dir    string // below that of libraries, where it is looked for there
	at     string // where it is in the container, by its file

	needs    string // version of glibc
	optional bool   // others do without it
	from     string // what it belongs to
}

// injectLibraries makes the libraries found by the image's loader without
// writing to the image: they are bound in a directory of our own, and a copy of
// the loader's cache that knows them is put over the image's. An image without
// a cache gets the directory by LD_LIBRARY_PATH.
func (p *plan) injectLibraries() error {
	if len(p.libraries) == 0 {
		return nil
	}
	cache, err := linker.CacheToExtend(p.Image, p.LoaderCache)
	if err != nil {
		return err
	}
	libc, err := linker.LibcOf(p.Image, p.Arch, cache)
	if err != nil {
		return fmt.Errorf("give GPU libraries: look at the image's C library: %w", err)
	}
	switch libc.Kind {
	case "musl":
		p.warn("the image's programs use musl; the GPU driver's libraries and programs are made for glibc and are left out")
		p.withoutPrograms()
		return nil
	case "none":
		p.warn("the image has no glibc; the GPU driver's libraries and programs, which need it, are left out")
		p.withoutPrograms()
		return nil
	}
	if err := p.checkVersions(libc); err != nil {
		return err
	}
	dir := p.private() + "/lib"
	e := bundle.Edit{From: "gpu libraries", Rule: p.libraries[0].from}
	e.Mounts = p.placeLibraries(dir)
	e.Links = p.libraryLinks(dir)
	e.Mounts = append(e.Mounts, p.shadowed()...)
	p.makeFindable(&e, dir, cache)
	p.add(e)
	return nil
}

// withoutPrograms takes the driver's programs back: the image has no loader for them.
func (p *plan) withoutPrograms() {
	p.edits = slices.DeleteFunc(p.edits, func(e planned) bool { return e.forGlibc })
}

// placeLibraries says where each library is in the container, and mounts it there: by
// itself, among the names that lead to it. A container that has the node's own
// directories anyhow gets those that hold the libraries as a whole, elsewhere: one
// mount for all of them, and nothing else of them is in a place that is searched.
func (p *plan) placeLibraries(dir string) (mounts []specs.Mount) {
	known := map[string]string{} // directories of the node, to the container's
	for i := range p.libraries {
		l := &p.libraries[i]
		if !p.sharesDev() {
			l.at = path.Join(dir, l.dir, l.file)
			mounts = append(mounts, bindOf(l.source, l.at))
			continue
		}
		from := path.Dir(l.source)
		if known[from] == "" {
			known[from] = path.Join(p.private(), "node", strconv.Itoa(len(known)))
			m := bindOf(from, known[from])
			m.Options[0] = "rbind" // what is mounted below cannot be left out in a user namespace
			mounts = append(mounts, m)
		}
		l.at = path.Join(known[from], path.Base(l.source))
	}
	return mounts
}

// checkVersions refuses libraries that need a newer glibc than the image's: they
// would fail when a program has long been running. Those that may be missing
// are left out.
func (p *plan) checkVersions(libc linker.Libc) error {
	var left []library
	for _, l := range p.libraries {
		need := l.needs
		switch {
		case need == "" || host.CompareVersions(need, libc.Version) <= 0:
			left = append(left, l)
		case l.optional:
			p.warn(fmt.Sprintf("%s is left out: it needs glibc %s, the image has %s", l.file, need, libc.Version))
		default:
			return fmt.Errorf("give GPU libraries: %s of %s needs GLIBC_%s, but the image's %s has only GLIBC_%s; use an image with glibc %s or newer",
				l.file, l.from, need, libc.Path, libc.Version, need)
		}
	}
	p.libraries = left
	return nil
}

// glibcOf is the version of glibc that a library needs, by the symbol versions in
// it; empty when it needs none.
func glibcOf(lib host.Library) string {
	need := ""
	for _, of := range lib.Needs {
		if v := host.Greatest("GLIBC_", of.Versions); v != "" && (need == "" || host.CompareVersions(v, need) > 0) {
			need = v
		}
	}
	return need
}

// libraryLinks are the names by which libraries are known: libcuda.so.1 for
// libcuda.so.550.54.15, and libcuda.so for who links or looks for that.
func (p *plan) libraryLinks(dir string) []bundle.Link {
	var links []bundle.Link
	for _, l := range p.libraries {
		in := path.Join(dir, l.dir)
		for _, name := range l.names() {
			target := l.at
			switch {
			case path.Join(in, name) == l.at:
				continue
			case name != l.soname && l.soname != l.file:
				target = l.soname
			case path.Dir(l.at) == in:
				target = l.file
			}
			links = append(links, bundle.Link{Path: path.Join(in, name), Target: target})
		}
		if strings.HasPrefix(l.file, "libnvidia-allocator.so.") {
			links = append(links, bundle.Link{Path: path.Join(dir, "gbm", "nvidia-drm_gbm.so"), Target: "../" + l.soname})
		}
	}
	return links
}

// names are those by which a program may ask for the library.
func (l library) names() []string {
	base, _, _ := strings.Cut(l.file, ".so")
	names := []string{l.soname}
	switch {
	case withoutVersion(base) && base+".so" != l.soname:
		names = append(names, base+".so")
	case base == "libGLX_nvidia":
		// What GLX takes for an X server without an extension of NVIDIA's.
		names = append(names, "libGLX_indirect.so.0")
	}
	return names
}

// withoutVersion tells whether programs link with a library of NVIDIA's, or look
// for it, by its name without a version: those for which its installer makes such
// links. What is not NVIDIA's has what its specification says.
func withoutVersion(library string) bool {
	switch library {
	case "libcuda", "libnvidia-ml", "libnvidia-cfg", "libnvcuvid", "libnvidia-encode", "libnvidia-fbc", "libnvidia-ifr", "libnvidia-opticalflow",
		"libnvidia-ptxjitcompiler", "libnvidia-allocator", "libnvidia-nvvm", "libnvidia-api", "libvdpau_nvidia", "libnvoptix":
		return true
	}
	return false
}

// makeFindable lets the loader know the libraries.
func (p *plan) makeFindable(e *bundle.Edit, dir string, cache *ldcache.Cache) {
	if cache == nil {
		for _, l := range p.libraries {
			if l.dir != "" {
				e.EnvPrepend = append(e.EnvPrepend, "LD_LIBRARY_PATH="+path.Join(dir, l.dir))
			}
		}
		e.EnvPrepend = append(unique(e.EnvPrepend), "LD_LIBRARY_PATH="+dir)
		for _, l := range p.compat {
			e.EnvPrepend = append(e.EnvPrepend, "LD_LIBRARY_PATH="+path.Dir(l.path))
		}
		return
	}
	flags := ldcache.Flags(p.Arch)
	var entries []ldcache.Entry
	known := map[string]bool{}
	for _, l := range slices.Concat(p.compat, p.libraries) {
		for _, name := range l.names() {
			if known[name] {
				continue
			}
			known[name] = true
			file := l.path
			if file == "" {
				file = path.Join(dir, l.dir, name)
			}
			entries = append(entries, ldcache.Entry{Name: name, Path: file, Flags: flags})
		}
	}
	cache.Put(entries...)
	e.Files = append(e.Files, bundle.File{Path: ldcache.Path, Data: cache.Encode()})
}

// shadowed binds the libraries over those of other drivers that the image would
// find first: LD_LIBRARY_PATH goes before the loader's cache. What lies in a
// directory for forward compatibility is put there by will, and stays.
func (p *plan) shadowed() (mounts []specs.Mount) {
	const mostDirs = 32
	search := p.env["LD_LIBRARY_PATH"]
	if search == "" {
		return nil
	}
	view := linker.NewView(p.Image, nil)
	defer view.Close()
	view.Mount(p.Mounts, p.Host)
	loader := linker.New(view, p.Arch, nil).In(linker.Environment{LibraryPath: search, Cwd: p.Cwd})
	loader.Machine = p.Host
	dirs := loader.LibraryPath(nil)
	covered := map[string]bool{}
	for _, dir := range dirs[:min(len(dirs), mostDirs)] {
		if strings.Contains(dir, "/compat") || strings.HasSuffix(path.Clean(dir), "/stubs") {
			continue
		}
		view.List(dir) // which answers what Levels asks
		for _, dir := range loader.Levels(dir) {
			names := view.List(dir)
			for _, l := range p.libraries {
				if !slices.Contains(names, l.soname) {
					continue
				}
				if o := loader.FittingIn(dir, l.soname); o != nil && o.File != l.source && !covered[o.At] {
					covered[o.At] = true
					mounts = append(mounts, bindOf(l.source, o.At))
				}
			}
		}
	}
	return mounts
}
