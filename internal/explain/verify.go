package explain

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/ldcache"
)

// A Finding is whether the image's loader finds a library that edits put into the
// container, when a program asks for it by its name. What a program's own
// DT_RPATH names is searched before all of this, and not looked at here.
type Finding struct {
	Library string `json:"library"`         // by the name that is asked for
	Given   string `json:"given"`           // where the edits put it
	Found   string `json:"found,omitempty"` // where the loader finds it; empty when it does not
	By      string `json:"by,omitempty"`    // LD_LIBRARY_PATH, ld.so.cache, or the standard directories
	Right   bool   `json:"right"`           // it is the one that was given
	Why     string `json:"why,omitempty"`   // it is not
}

// Verify looks for every library that the bundle's edits have put into it as the
// loader of the image would: all edits are applied, and nothing is launched.
func Verify(b *bundle.Bundle, node, image *host.Tree, arch string) []Finding {
	v := &view{bundle: b, node: node, image: image, arch: arch}
	v.readEnvironment()
	v.readCache()
	var findings []Finding
	seen := map[string]bool{}
	look := func(source, at string) {
		soname, ok := v.library(source, at)
		if ok && !seen[soname] {
			seen[soname] = true
			findings = append(findings, v.find(soname, at))
		}
	}
	for _, e := range b.Applied {
		for _, m := range slices.Concat(e.MountsFirst, e.Mounts) {
			if bundle.IsBind(m) {
				look(m.Source, path.Clean(m.Destination))
			}
		}
		for _, l := range e.Links {
			if at := v.follow(path.Clean(l.Path)); at != "" && isLibrary(path.Base(l.Path)) {
				look(v.source(at), at)
			}
		}
	}
	return findings
}

// A view is the container as its programs will see it.
type view struct {
	bundle      *bundle.Bundle
	node, image *host.Tree
	arch        string

	searchPath []string // of LD_LIBRARY_PATH
	cache      *ldcache.Cache
	levels     []string // of this processor
}

func (v *view) readEnvironment() {
	for _, entry := range v.bundle.Spec.Process.Env {
		if value, ok := strings.CutPrefix(entry, "LD_LIBRARY_PATH="); ok {
			v.searchPath = strings.FieldsFunc(value, func(r rune) bool { return r == ':' || r == ';' })
		}
	}
}

// readCache takes the loader's cache that edits made, else the image's.
func (v *view) readCache() {
	for _, f := range v.bundle.Files {
		if path.Clean(f.Path) == host.LoaderCache {
			v.cache, _ = ldcache.Parse(f.Data)
			return
		}
	}
	if c, err := v.image.LoaderCache(); err == nil {
		v.cache = c
	}
}

// isLibrary tells whether a file is one by its name.
func isLibrary(name string) bool {
	return strings.HasPrefix(name, "lib") && strings.Contains(name, ".so")
}

// library tells whether the node's file at the source, which the container has at a
// path, is a library, and the name by which programs ask for it.
func (v *view) library(source, at string) (soname string, ok bool) {
	if source == "" || !isLibrary(path.Base(at)) {
		return "", false
	}
	lib, err := v.node.Library(source)
	if err != nil || lib.Machine != host.Machine(v.arch) {
		return "", false
	}
	if lib.Soname == "" {
		return path.Base(at), true
	}
	return lib.Soname, true
}

// find searches the library in the loader's order (ld.so(8)).
func (v *view) find(soname, given string) Finding {
	f := Finding{Library: soname, Given: given}
	for _, dir := range v.searchPath {
		if at := v.findIn(dir, soname); at != "" {
			return v.found(f, at, "LD_LIBRARY_PATH")
		}
	}
	if v.cache != nil {
		for _, file := range v.cache.Lookup(soname, ldcache.Flags(v.arch)) {
			if at := v.follow(file); at != "" && v.isUsable(file) {
				return v.found(f, at, "ld.so.cache")
			}
		}
	}
	for _, dir := range host.LibraryDirs(v.arch) {
		if at := v.findIn(dir, soname); at != "" {
			return v.found(f, at, "standard directories")
		}
	}
	f.Why = "the loader does not find it"
	return f
}

// findIn looks in a directory of a search path, and below it first, where libraries for
// newer processors are.
func (v *view) findIn(dir, soname string) string {
	for _, dir := range host.TokensOf(v.arch, "").Expand(dir) {
		if !path.IsAbs(dir) {
			continue
		}
		for _, level := range v.usableLevels() {
			if at := v.follow(path.Join(dir, host.HwcapsDir, level, soname)); at != "" {
				return at
			}
		}
		if at := v.follow(path.Join(dir, soname)); at != "" {
			return at
		}
	}
	return ""
}

func (v *view) usableLevels() []string {
	if v.levels == nil {
		v.levels = v.node.UsableHwcaps(v.arch)
	}
	return v.levels
}

// isUsable reports whether a file in the cache is for this processor, or for any.
func (v *view) isUsable(file string) bool {
	_, after, found := strings.Cut(file, "/"+host.HwcapsDir+"/")
	level, _, _ := strings.Cut(after, "/")
	return !found || slices.Contains(v.usableLevels(), level)
}

func (v *view) found(f Finding, at, by string) Finding {
	f.Found, f.By = at, by
	f.Right = at == f.Given || v.sameSource(at, f.Given)
	if !f.Right {
		f.Why = "the loader finds another one"
	}
	return f
}

// sameSource tells whether one file of the node is at both places: itself, or in a
// directory that is mounted there.
func (v *view) sameSource(a, b string) bool {
	return v.source(a) != "" && v.source(a) == v.source(b)
}

// source is the node's file that the container has at a path by a mount; empty for
// one of the image's own.
func (v *view) source(at string) string {
	for _, m := range slices.Backward(v.bundle.Spec.Mounts) {
		rest, inside := strings.CutPrefix(at+"/", path.Clean(m.Destination)+"/")
		if !inside {
			continue
		}
		if resolved, err := v.node.Resolve(path.Join(m.Source, rest)); err == nil {
			return resolved
		}
		return ""
	}
	return ""
}

// mostLinks bounds how many links are followed, as the kernel does.
const mostLinks = 40

// follow is where a path of the container leads, without the links that edits
// made; empty where nothing is.
func (v *view) follow(file string) string {
	for range mostLinks {
		link := slices.IndexFunc(v.bundle.Links, func(l bundle.Link) bool { return path.Clean(l.Path) == file })
		if link < 0 {
			break
		}
		target := v.bundle.Links[link].Target
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(file), target)
		}
		file = path.Clean(target)
	}
	return v.resolve(file)
}

// resolve looks below the deepest mount that the path is in, else in the image.
func (v *view) resolve(file string) string {
	var deepest *specs.Mount
	for i := range v.bundle.Spec.Mounts {
		m := &v.bundle.Spec.Mounts[i]
		at := path.Clean(m.Destination)
		inside := file == at || strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/")
		if inside && (deepest == nil || len(at) >= len(path.Clean(deepest.Destination))) {
			deepest = m
		}
	}
	if deepest == nil {
		return v.inImage(file)
	}
	if !bundle.IsBind(*deepest) {
		return ""
	}
	inside := strings.TrimPrefix(file, path.Clean(deepest.Destination))
	if v.node.Exists(path.Join(deepest.Source, inside)) {
		return file
	}
	return ""
}

// inImage is where a path leads in the image, or to what is mounted beside it there.
func (v *view) inImage(file string) string {
	if dir, err := v.image.Resolve(path.Dir(file)); err == nil {
		at := path.Join(dir, path.Base(file))
		if slices.ContainsFunc(v.bundle.Spec.Mounts, func(m specs.Mount) bool { return path.Clean(m.Destination) == at }) {
			return at
		}
	}
	resolved, err := v.image.Resolve(file)
	if err != nil {
		return ""
	}
	return resolved
}
