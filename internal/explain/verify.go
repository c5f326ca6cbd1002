package explain

import (
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A Finding says whether the image's loader finds a library that edits inject into the
// container, when a program loads it by its name. A program's own DT_RPATH comes before
// all of this, and is not considered.
type Finding struct {
	Library string `json:"library"`         // the name that programs load
	Given   string `json:"given"`           // where the edits put it
	Found   string `json:"found,omitempty"` // where the loader finds it; empty if it does not
	By      string `json:"by,omitempty"`    // LD_LIBRARY_PATH, ld.so.cache, or the standard directories
	Right   bool   `json:"right"`           // the loader finds the injected one
	Why     string `json:"why,omitempty"`   // why it does not
}

// Verify looks up every library that the bundle's edits inject, as the loader of the
// image would: all edits are applied, and nothing is launched.
func Verify(b *bundle.Bundle, node, image *host.Tree, arch string) []Finding {
	view := linker.NewView(image, nil)
	defer view.Close()
	view.Mount(b.Spec.Mounts, node)
	view.Make(b.Links, b.Files)
	v := verification{loader: loaderOf(b, view, arch), seen: map[string]bool{}}
	v.loader.Machine = node
	for _, e := range b.Applied {
		for _, m := range slices.Concat(e.MountsFirst, e.Mounts) {
			if source, err := node.Resolve(m.Source); err == nil && bundle.IsBind(m) {
				v.look(linker.Place{Tree: node, Path: source, At: path.Clean(m.Destination)})
			}
		}
		for _, l := range e.Links {
			if in, err := view.Resolve(l.Path); err == nil && in.Tree != image && isLibrary(path.Base(l.Path)) {
				v.look(in)
			}
		}
	}
	return v.findings
}

// loaderOf returns the image's loader, for a program without search paths of its own.
func loaderOf(b *bundle.Bundle, view *linker.View, arch string) *linker.Loader {
	var made []byte
	for _, f := range b.Files {
		if path.Clean(f.Path) == ldcache.Path {
			made = f.Data
		}
	}
	cache, err := linker.CacheToExtend(view.Tree, made)
	if err != nil {
		cache = nil // the loader ignores a damaged one
	}
	p := b.Spec.Process
	search, _ := bundle.Getenv(p.Env, "LD_LIBRARY_PATH")
	l := linker.New(view, arch, nil).In(linker.Environment{LibraryPath: search, Cwd: p.Cwd})
	l.Cache = cache
	if libc, err := linker.LibcOf(view.Tree, arch, cache); err == nil && libc.Kind == "musl" {
		return l.Musl()
	}
	return l
}

// A verification looks up one library after the other.
type verification struct {
	loader   *linker.Loader
	seen     map[string]bool // names that were looked up
	findings []Finding
}

// look looks up a library of the host that the container gets, by the name that
// programs use.
func (v *verification) look(given linker.Place) {
	if given.Tree == nil || !isLibrary(path.Base(given.At)) {
		return
	}
	lib, err := given.Tree.Library(given.Path)
	if err != nil || lib.Machine != host.Machine(v.loader.Arch) {
		return
	}
	name := lib.Soname
	if name == "" {
		name = path.Base(given.At)
	}
	if !v.seen[name] {
		v.seen[name] = true
		v.findings = append(v.findings, v.find(name, given))
	}
}

// find looks up a name with the loader.
func (v *verification) find(name string, given linker.Place) Finding {
	f := Finding{Library: name, Given: given.At}
	found := v.loader.Find(name, nil, nil)
	if found.Object == nil {
		f.Why = "the loader does not find it"
		return f
	}
	f.Found, f.By = found.At, string(found.By)
	if found.By == linker.BySearchPath {
		f.By = "LD_LIBRARY_PATH"
	}
	f.Right = found.File == given.Tree.HostPath(given.Path)
	if !f.Right {
		f.Why = "the loader finds another library"
	}
	return f
}

// isLibrary reports whether a file is a library by its name.
func isLibrary(name string) bool {
	return strings.HasPrefix(name, "lib") && strings.Contains(name, ".so")
}
