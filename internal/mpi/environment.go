package mpi

import (
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// An environment is a container's, by name.
type environment map[string]string

func newEnvironment(list []string) environment {
	e := environment{}
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok {
			e[name] = value
		}
	}
	return e
}

// ofLoader is what it says to the loader of a process.
func (e environment) ofLoader(cwd string) linker.Environment {
	return linker.Environment{LibraryPath: e["LD_LIBRARY_PATH"], Preload: e["LD_PRELOAD"], Cwd: cwd}
}

// list is a variable that holds directories.
func (e environment) list(name string) []string {
	if e[name] == "" {
		return nil
	}
	return strings.FieldsFunc(e[name], func(r rune) bool { return r == ':' || r == ';' && name == "LD_LIBRARY_PATH" })
}
