package mpi

import (
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// This file follows what programs open while they run, without being linked with it:
// Python's extensions, and libraries that they name, or that a variable names.

// mpi4py finds the MPI that the interpreter's mpi4py is linked with, whether or not an
// import was seen.
func (c *command) mpi4py(python *interpreter, certain bool) {
	for _, dir := range append([]string{python.first}, python.dirs...) {
		at := dir + "/mpi4py"
		var built []string
		for _, name := range c.names(at) {
			if strings.HasPrefix(name, "MPI.") && strings.HasSuffix(name, ".so") {
				built = append(built, name)
			}
		}
		if len(built) == 0 {
			continue
		}
		who := "mpi4py in " + dir
		if c.byABI(python, at, built, who, certain) || c.open(python.Object, who, certain, at+"/"+built[0]) {
			return
		}
		// It opens the library by name, and finds the site's.
		if mpi := c.p.image.ofImage(c.p.names()); mpi.Family != "" {
			c.add(&use{mpi: mpi, loader: c.p.image, who: who, certain: certain})
		}
		return
	}
}

// byABI is for an mpi4py that is built for several MPIs, as PyPI's is since 4.1: it
// opens the first MPI in the environment's lib, or the first that the loader finds, and
// uses the extension for it.
func (c *command) byABI(python *interpreter, dir string, built []string, who string, certain bool) bool {
	kinds := map[Family]string{}
	for _, name := range built {
		switch kind := strings.Split(name, ".")[1]; kind {
		case "mpich":
			kinds[MPICH] = dir + "/" + name
		case "openmpi":
			kinds[OpenMPI] = dir + "/" + name
		case "mpiabi":
			kinds[ABI] = dir + "/" + name
		}
	}
	if len(kinds) == 0 {
		return false
	}
	opened := false
	for _, name := range c.libmpis(python) {
		l := c.loader()
		mpi, at := l.mpiIn(l.Start(python.Object, name))
		if at == nil {
			continue
		}
		names := []string{name}
		if extension := kinds[mpi.Family]; extension != "" {
			names = append(names, extension)
		}
		c.open(python.Object, who, certain && !opened, names...)
		opened = true
	}
	return opened
}

// libmpis returns the names by which it opens an MPI, in its order.
func (c *command) libmpis(python *interpreter) (files []string) {
	names := []string{"libmpi.so", "libmpi.so.12", "libmpi.so.40", "libmpi_abi.so.1", "libmpi_abi.so.0"}
	switch c.get("MPI4PY_MPIABI") {
	case "mpich", "impi":
		names = names[1:2]
	case "openmpi":
		names = names[2:3]
	case "mpiabi":
		names = names[3:]
	default:
		if named := c.get("MPI4PY_LIBMPI"); named != "" {
			names = strings.Split(named, ":")
		}
	}
	for _, prefix := range append(slices.Clone(python.prefixes), "") {
		for _, name := range names {
			switch {
			case prefix == "" || path.IsAbs(name):
				files = append(files, name)
			case prefix != "/usr":
				files = append(files, prefix+"/lib/"+name)
			}
		}
	}
	return files
}

// extensions follows the libraries of an imported package until one uses an MPI: those
// in the package, and those that packages like petsc4py have for each configuration.
func (c *command) extensions(python *interpreter, name string) {
	for _, dir := range append([]string{python.first}, python.dirs...) {
		if !slices.ContainsFunc(c.p.image.List(dir), func(n string) bool { return n == name || strings.HasPrefix(n, name+".") }) {
			continue
		}
		for _, file := range c.extensionFiles(dir, name) {
			if c.open(python.Object, name+" in "+dir, true, file) {
				return
			}
		}
		return
	}
}

// extensionFiles returns libraries of a package: those in it, those in its
// lib/CONFIGURATION, and in its subpackages those that need an MPI themselves.
func (c *command) extensionFiles(dir, name string) (files []string) {
	in := dir + "/" + name
	files = append(c.libraries(dir, name+".", false), c.libraries(in, "", false)...)
	below := c.p.image.Sorted(in)
	if slices.Contains(below, "lib") {
		for _, configuration := range c.names(in + "/lib") {
			if !strings.Contains(configuration, ".") && len(files) < 2*mostExtensions {
				files = append(files, c.libraries(in+"/lib/"+configuration, "", false)...)
			}
		}
	}
	looked := 0
	for _, sub := range below {
		if strings.Contains(sub, ".") || strings.HasPrefix(sub, "__") || sub == "lib" || sub == "tests" {
			continue
		}
		if looked++; looked > mostExtensions {
			break
		}
		files = append(files, c.libraries(in+"/"+sub, "", true)...)
	}
	return files
}

// libraries returns some of the libraries in a directory, or only those that need an
// MPI.
func (c *command) libraries(dir, begin string, needing bool) (files []string) {
	for _, name := range c.names(dir) {
		if !strings.HasPrefix(name, begin) || !strings.HasSuffix(name, ".so") || len(files) == mostLibraries {
			continue
		}
		file := dir + "/" + name
		if needing {
			if o := c.p.image.Fitting(file); o == nil || !slices.ContainsFunc(o.Needed, isMPIName) {
				continue
			}
		}
		files = append(files, file)
	}
	return files
}

// trampolines is the variable that names MPItrampoline's MPI.
const trampolines = "MPITRAMPOLINE_LIB"

// opened follows what a program opens: the libraries of an MPI that the program or one
// of its libraries names, and everything that it names by path.
func (c *command) opened(o *linker.Object) {
	if len(c.p.Profiles) == 0 {
		return // there is no hint then
	}
	l := c.loader()
	p := l.Start(o)
	if file := c.get(trampolines); file != "" {
		c.open(o, o.At, true, file)
	}
	tried := 0
	for _, in := range p.Objects {
		if linker.IsLibc(in.Name()) || !canOpen(in.Object) {
			continue
		}
		for _, text := range in.In.Tree.Texts(in.In.Path, ".so") {
			isPath := path.IsAbs(text) && !strings.Contains(text, "%") && !strings.Contains(text, ":")
			if !isPath && (!isMPIName(text) || strings.ContainsAny(text, "/ %")) {
				continue
			}
			if tried++; tried > mostExtensions {
				return
			}
			c.open(o, o.At, in.Object == o, text)
		}
	}
}

// canOpen reports whether the object imports dlopen.
func canOpen(o *linker.Object) bool {
	known := factsOf(o)
	if known.opens == nil {
		imports, err := o.In.Tree.Imports(o.In.Path, "dlopen", "dlmopen")
		can := err == nil && len(imports) > 0
		known.opens = &can
	}
	return *known.opens
}
