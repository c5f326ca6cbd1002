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

// A library is a shared library that programs in the container must find.
type library struct {
	source string // on the host; empty for a library of the image
	path   string // in the image, for one of its libraries
	file   string // its file name
	soname string // the name that programs load it by
	dir    string // subdirectory of the directory of libraries in which it is searched
	at     string // the directory that holds it in the container

	needs    string // the version of glibc
	optional bool   // the driver works without it
	from     string // what it belongs to, for people
}

// injectLibraries makes the image's loader find the libraries without writing to the
// image: they are bound into a directory of ours, and a copy of the loader's cache that
// lists them is mounted over the image's. In an image without a cache, LD_LIBRARY_PATH
// names the directory.
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

// withoutPrograms removes the driver's programs: the image has no loader for them.
func (p *plan) withoutPrograms() {
	p.edits = slices.DeleteFunc(p.edits, func(e planned) bool { return e.forGlibc })
}

// placeLibraries decides where each library is in the container, and mounts it there,
// beside the links that lead to it. If the container shares the host's directories
// anyway, those with the libraries are mounted as a whole, in a place that is not
// searched: one mount covers all libraries, and nothing else in them is found.
func (p *plan) placeLibraries(dir string) (mounts []specs.Mount) {
	known := map[string]string{} // directories of the host, and where the container has them
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
			m.Options[0] = "rbind" // a user namespace must not reveal what lies below the mounts there
			mounts = append(mounts, m)
		}
		l.at = path.Join(known[from], path.Base(l.source))
	}
	return mounts
}

// checkVersions refuses libraries that need a newer glibc than the image's, since they
// would fail only when the program is already running. It leaves out optional ones.
func (p *plan) checkVersions(libc linker.Libc) error {
	var left []library
	for _, l := range p.libraries {
		need := l.needs
		switch {
		case need == "" || host.CompareVersions(need, libc.Version) <= 0:
			left = append(left, l)
		case l.optional:
			p.warn(fmt.Sprintf("%s is left out: it needs glibc %s, and the image has %s", l.file, need, libc.Version))
		default:
			return fmt.Errorf("give GPU libraries: %s of %s needs GLIBC_%s, but the image's %s has only GLIBC_%s; use an image with glibc %s or newer",
				l.file, l.from, need, libc.Path, libc.Version, need)
		}
	}
	p.libraries = left
	return nil
}

// glibcOf returns the version of glibc that a library needs, by its symbol versions;
// empty if it needs none.
func glibcOf(lib host.Library) string {
	need := ""
	for _, of := range lib.Needs {
		if v := host.Greatest("GLIBC_", of.Versions); v != "" && (need == "" || host.CompareVersions(v, need) > 0) {
			need = v
		}
	}
	return need
}

// libraryLinks returns the links for the other names of libraries: libcuda.so.1 for
// libcuda.so.550.54.15, and libcuda.so for programs that link with it or open it under
// that name.
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

// names returns the names by which a program may load the library.
func (l library) names() []string {
	base, _, _ := strings.Cut(l.file, ".so")
	names := []string{l.soname}
	switch {
	case withoutVersion(base) && base+".so" != l.soname:
		names = append(names, base+".so")
	case base == "libGLX_nvidia":
		// GLX loads this name for an X server without NVIDIA's extension.
		names = append(names, "libGLX_indirect.so.0")
	}
	return names
}

// withoutVersion reports whether programs use a library of NVIDIA's by its name without
// a version: NVIDIA's installer creates such links for these. For a library of another
// vendor its CDI specification decides.
func withoutVersion(library string) bool {
	switch library {
	case "libcuda", "libnvidia-ml", "libnvidia-cfg", "libnvcuvid", "libnvidia-encode", "libnvidia-fbc", "libnvidia-ifr", "libnvidia-opticalflow",
		"libnvidia-ptxjitcompiler", "libnvidia-allocator", "libnvidia-nvvm", "libnvidia-api", "libvdpau_nvidia", "libnvoptix":
		return true
	}
	return false
}

// makeFindable makes the loader find the libraries.
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

// shadowed binds the libraries over those of other drivers that the image would find
// first, because LD_LIBRARY_PATH comes before the loader's cache. Libraries in a
// directory for forward compatibility are there on purpose, and stay.
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
		view.List(dir) // fills the view with what Levels needs
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
