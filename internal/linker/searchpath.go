package linker

import (
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// This file computes where the loader searches before its cache.

// An Environment is what a process passes to its loader.
type Environment struct {
	LibraryPath string // LD_LIBRARY_PATH
	Preload     string // LD_PRELOAD
	Cwd         string // where relative search paths begin
}

// In returns the loader of a process with that environment.
func (l *Loader) In(env Environment) *Loader {
	other := *l
	other.cwd, other.Path = env.Cwd, searchPath(env.LibraryPath)
	other.preload = strings.FieldsFunc(env.Preload, func(r rune) bool { return r == ':' || r == ' ' })
	return &other
}

// searchPath lists the directories of LD_LIBRARY_PATH. An empty element is the working
// directory.
func searchPath(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(strings.ReplaceAll(list, ";", ":"), ":")
}

// mostText bounds how much of a configuration file of the loader is read, in bytes.
const mostText = 256 << 10

// preloadFile names libraries that every program of an image loads.
const preloadFile = "/etc/ld.so.preload"

// WithPreloads adds the libraries of preloadFile.
func (l *Loader) WithPreloads(image *host.Tree) {
	l.seen.Look(image, preloadFile)
	if !image.IsFile(preloadFile) {
		return
	}
	text, err := image.ReadFile(preloadFile)
	if err == nil && len(text) < mostText {
		l.always = strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(": \t\n", r) })
	}
}

// DirsFor lists the directories that are searched before the cache for what an object
// needs or, if by is nil, for what the program opens. The DT_RPATH of each object that
// led to it counts, and the program's always does, unless the object has a DT_RUNPATH.
func (l *Loader) DirsFor(by *Loaded, p *Process) []string {
	var program *Loaded
	if p != nil {
		program = p.Main
	}
	switch {
	case l.musl:
		dirs := l.LibraryPath(program)
		for o := by; o != nil; o = o.By {
			dirs = append(dirs, l.expand(muslPath(o), o)...)
		}
		return dirs
	case by != nil && len(by.RunPath) > 0:
		return slices.Concat(l.LibraryPath(program), l.expand(by.RunPath, by))
	}
	var dirs []string
	own := false
	for o := by; o != nil; o = o.By {
		if len(o.RunPath) == 0 {
			dirs = append(dirs, l.expand(o.RPath, o)...)
		}
		own = own || o == program
	}
	if program != nil && !own && len(program.RunPath) == 0 {
		dirs = append(dirs, l.expand(program.RPath, program)...)
	}
	if dirs == nil {
		return l.LibraryPath(program)
	}
	return append(dirs, l.LibraryPath(program)...)
}

// muslPath returns DT_RUNPATH or DT_RPATH: musl treats them the same.
func muslPath(o *Loaded) []string {
	if len(o.RunPath) > 0 {
		return o.RunPath
	}
	return o.RPath
}

// muslDirs lists the directories that musl always searches: those in its configuration
// file, or its built-in ones.
func (l *Loader) muslDirs() []string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "powerpc64le"}[l.Arch]
	file := "/etc/ld-musl-" + machine + ".path"
	l.seen.Look(l.Tree, file)
	if text, err := l.Tree.ReadFile(file); err == nil && len(text) < mostText {
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })
	}
	return []string{"/lib", "/usr/local/lib", "/usr/lib"}
}

// LibraryPath returns LD_LIBRARY_PATH for a program: $ORIGIN in it is the program's.
func (l *Loader) LibraryPath(program *Loaded) []string {
	plain := func(dir string) bool { return !strings.Contains(dir, "$") && path.IsAbs(dir) }
	if !slices.ContainsFunc(l.Path, func(dir string) bool { return !plain(dir) }) {
		return slices.Clip(l.Path)
	}
	return l.expand(l.Path, program)
}

// expand replaces the tokens in paths, which stand for the object's directory and the
// host.
func (l *Loader) expand(list []string, o *Loaded) []string {
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
			readings = tokensOf(l.Arch, origin).expand(dir)
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
