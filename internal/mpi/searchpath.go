package mpi

import (
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// Where the loader searches before its cache, and what the texts mean that say so.

// ofLoader reads what the environment says to the loader. An empty directory in a search
// path is the working directory.
func (l *loader) ofLoader(env environment, cwd string) *loader {
	l.cwd, l.path, l.preload = cwd, nil, nil
	if list := env["LD_LIBRARY_PATH"]; list != "" {
		l.path = strings.Split(strings.ReplaceAll(list, ";", ":"), ":")
	}
	l.preload = strings.FieldsFunc(env["LD_PRELOAD"], func(r rune) bool { return r == ':' || r == ' ' })
	return l
}

// preloadFile names libraries that every program of an image loads.
const preloadFile = "/etc/ld.so.preload"

// withPreloads adds those.
func (l *loader) withPreloads(image *host.Tree) {
	l.seen.look(image, preloadFile)
	if !image.IsFile(preloadFile) {
		return
	}
	text, err := image.ReadFile(preloadFile)
	if err == nil && len(text) < mostScript {
		l.always = strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(": \t\n", r) })
	}
}

// dirsFor lists the directories that are searched before the cache for what an object
// needs; without one for what the program opens. The DT_RPATH of whoever needed the
// object is followed up to the program, whose own counts in any case, but for an object
// with a DT_RUNPATH.
func (l *loader) dirsFor(by *loaded, p *process) []string {
	var program *loaded
	if p != nil {
		program = p.main
	}
	switch {
	case l.musl:
		dirs := l.libraryPath(program)
		for o := by; o != nil; o = o.by {
			dirs = append(dirs, l.expand(muslPath(o), o)...)
		}
		return dirs
	case by != nil && len(by.RunPath) > 0:
		return slices.Concat(l.libraryPath(program), l.expand(by.RunPath, by))
	}
	var dirs []string
	own := false
	for o := by; o != nil; o = o.by {
		if len(o.RunPath) == 0 {
			dirs = append(dirs, l.expand(o.RPath, o)...)
		}
		own = own || o == program
	}
	if program != nil && !own && len(program.RunPath) == 0 {
		dirs = append(dirs, l.expand(program.RPath, program)...)
	}
	if dirs == nil {
		return l.libraryPath(program)
	}
	return append(dirs, l.libraryPath(program)...)
}

// muslPath is what musl takes for both.
func muslPath(o *loaded) []string {
	if len(o.RunPath) > 0 {
		return o.RunPath
	}
	return o.RPath
}

// muslDirs are the directories that musl searches in any case: those of a file, or some
// that it was built with.
func (l *loader) muslDirs() []string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "powerpc64le"}[l.arch]
	file := "/etc/ld-musl-" + machine + ".path"
	l.seen.look(l.tree, file)
	if text, err := l.tree.ReadFile(file); err == nil && len(text) < mostScript {
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })
	}
	return []string{"/lib", "/usr/local/lib", "/usr/lib"}
}

// libraryPath is LD_LIBRARY_PATH for a program: $ORIGIN in it is the program's.
func (l *loader) libraryPath(program *loaded) []string {
	plain := func(dir string) bool { return !strings.Contains(dir, "$") && path.IsAbs(dir) }
	if !slices.ContainsFunc(l.path, func(dir string) bool { return !plain(dir) }) {
		return slices.Clip(l.path)
	}
	return l.expand(l.path, program)
}

// expand replaces what a path may say of where its object is, and of the machine.
func (l *loader) expand(list []string, o *loaded) []string {
	if len(list) == 1 && list[0] == "" {
		return nil // an empty list, and not one with an empty directory
	}
	origin := ""
	if o != nil {
		origin = o.origin
	}
	var dirs []string
	for _, dir := range list {
		readings := []string{dir}
		if strings.Contains(dir, "$") {
			readings = host.TokensOf(l.arch, origin).Expand(dir)
		}
		for _, dir := range readings {
			if !path.IsAbs(dir) {
				dir = path.Join(l.cwd, dir)
			}
			if path.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}
