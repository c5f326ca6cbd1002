// Package environment reads environment files: TOML files that name an image, and say what a user
// wants with it. The format is that of CSCS's container engine (EDF), with more keys.
package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// extension ends the names of environment files; the name of an environment lacks it.
const extension = ".toml"

// ErrNotFound says that no directory has an environment of a name.
var ErrNotFound = errors.New("no such environment")

// Places say where environments are found, and what variables in them stand for.
type Places struct {
	// Dirs are searched in this order for a name.
	Dirs []string

	// Dir is the base of relative paths, which are those of the caller and not of the file, as in
	// CSCS's container engine. Home replaces ~.
	Dir, Home string

	// Env has the variables that ${NAME} stands for, as os.Environ.
	Env []string
}

// PlacesOf returns the places of a user with this environment: the directories in OCISHIM_EDF_PATH,
// or else EDF_PATH, or else ~/.edf, and then the site's.
func PlacesOf(env []string, dir string, site []string) Places {
	p := Places{Dir: dir, Env: env}
	p.Home, _ = bundle.Getenv(env, "HOME")
	for _, name := range []string{"OCISHIM_EDF_PATH", "EDF_PATH"} {
		if list, _ := bundle.Getenv(env, name); list != "" {
			p.Dirs = filepath.SplitList(list)
			break
		}
	}
	if len(p.Dirs) == 0 && filepath.IsAbs(p.Home) {
		p.Dirs = []string{filepath.Join(p.Home, ".edf")}
	}
	p.Dirs = append(p.Dirs, site...)
	p.Dirs = slices.DeleteFunc(p.Dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
	return p
}

// Find returns the file of the environment with this name. The error is an ErrNotFound, with the
// directories that were searched and the nearest name in them.
func (p Places) Find(name string) (string, error) {
	if !image.ValidName(name) {
		return "", fmt.Errorf("environment %s: %w: a name has letters, digits, '.', '_' and '-'", text.Quoted(name), ErrNotFound)
	}
	for _, dir := range p.Dirs {
		path := filepath.Join(dir, name+extension)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	err := fmt.Errorf("environment %s: %w in %s", text.Quoted(name), ErrNotFound, text.Whole(strings.Join(p.Dirs, ", ")))
	if near := p.nearest(name); near != "" {
		err = fmt.Errorf("%w: did you mean %s?", err, text.Printable(near))
	}
	return "", err
}

func (p Places) nearest(name string) string {
	var names []string
	for _, found := range p.List() {
		names = append(names, found.Name)
	}
	return text.Nearest(name, names)
}

// A File is an environment file in one of the places.
type File struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// List returns the environments that names stand for, in the order of their names. A file that an
// earlier directory hides is left out, and so are directories that cannot be read.
func (p Places) List() []File {
	var files []File
	for _, dir := range p.Dirs {
		members, _ := os.ReadDir(dir)
		for _, m := range members {
			name, ours := strings.CutSuffix(m.Name(), extension)
			known := slices.ContainsFunc(files, func(f File) bool { return f.Name == name })
			if !ours || known || !image.ValidName(name) || m.Type()&(fs.ModeType&^fs.ModeSymlink) != 0 {
				continue
			}
			path := filepath.Join(dir, m.Name())
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				files = append(files, File{name, path})
			}
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files
}

// Resolve returns the file of an environment: NAME, edf:NAME, or a path such as ./env.toml. Found is
// false if the reference is to something else, or no place has a file of that name.
func (p Places) Resolve(ref image.Reference) (path string, found bool, err error) {
	switch {
	case ref.Kind == image.KindEDF && ref.Path != "":
		return ref.Path, true, nil
	case ref.Kind == image.KindEDF:
		path, err = p.Find(ref.Name)
		return path, err == nil, err
	case ref.Kind == image.KindName:
		path, err = p.Find(ref.Name)
		return path, err == nil, nil
	}
	return "", false, nil
}

// file returns the file of a base environment, or of an argument.
func (p Places) file(name string) (string, error) {
	ref, err := image.ParseReference(name, image.Rules{Dir: p.Dir, Home: p.Home})
	if err != nil {
		return "", err
	}
	if ref.Kind == image.KindPath {
		return ref.Path, nil
	}
	if ref.Kind == image.KindName {
		return p.Find(ref.Name)
	}
	path, found, err := p.Resolve(ref)
	if err == nil && !found {
		err = fmt.Errorf("environment %s: %w: a name, or a path such as ./env.toml", text.Quoted(name), ErrNotFound)
	}
	return path, err
}
