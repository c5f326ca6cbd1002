package mpi

import (
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// An environment is a container's environment, by name.
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

// ofLoader returns the variables that a process's loader reads.
func (e environment) ofLoader(cwd string) linker.Environment {
	return linker.Environment{LibraryPath: e["LD_LIBRARY_PATH"], Preload: e["LD_PRELOAD"], Cwd: cwd}
}

// list returns the elements of a variable that holds directories.
func (e environment) list(name string) []string {
	if e[name] == "" {
		return nil
	}
	return strings.FieldsFunc(e[name], func(r rune) bool { return r == ':' || r == ';' && name == "LD_LIBRARY_PATH" })
}
