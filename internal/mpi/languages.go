package mpi

import (
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// julia looks for the libraries of MPI.jl: those that it brings, in the places where
// Julia keeps them, and those opened by name.
func (c *command) julia(o *linker.Object, args []string) {
	certain := c.mentions(args, "using MPI", "import MPI")
	depots := strings.Split(c.get("JULIA_DEPOT_PATH"), ":")
	if c.get("JULIA_DEPOT_PATH") == "" {
		depots = []string{c.get("HOME") + "/.julia", "/opt/julia", "/usr/local/share/julia"}
	}
	for _, depot := range depots {
		for _, hash := range c.names(depot + "/artifacts") {
			lib := depot + "/artifacts/" + hash + "/lib"
			for _, name := range c.names(lib) {
				if isMPIName(name) && strings.HasSuffix(name, ".so") {
					c.open(o, "MPI.jl in "+depot, certain, lib+"/"+name)
				}
			}
		}
	}
}

// mentions reports whether arguments, or the scripts that they name, contain one of the
// words.
func (c *command) mentions(args []string, words ...string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		text := arg
		if _, file := c.lookUp(arg); file != "" {
			text = c.read(file)
		}
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
	})
}

// r looks for R's packages for MPI, where R keeps them.
func (c *command) r(o *linker.Object, args []string) {
	var dirs []string
	for _, variable := range []string{"R_LIBS", "R_LIBS_USER", "R_LIBS_SITE"} {
		dirs = append(dirs, strings.Split(c.get(variable), ":")...)
	}
	if home := c.get("HOME"); home != "" {
		for _, platform := range c.names(home + "/R") {
			for _, version := range c.names(home + "/R/" + platform) {
				dirs = append(dirs, home+"/R/"+platform+"/"+version)
			}
		}
	}
	for _, lib := range []string{"/usr/local/lib/R", "/usr/lib/R", "/usr/lib64/R"} {
		dirs = append(dirs, lib+"/site-library", lib+"/library")
	}
	for _, name := range []string{"Rmpi", "pbdMPI"} {
		certain := c.mentions(args, "library("+name, "require("+name, name+"::")
		for _, dir := range dirs {
			if dir != "" && c.open(o, name+" in "+dir, certain, dir+"/"+name+"/libs/"+name+".so") {
				break
			}
		}
	}
}
