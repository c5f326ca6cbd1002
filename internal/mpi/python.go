package mpi

import (
	"path"
	"slices"
	"strings"
)

// An interpreter of Python looks for its modules by where it is itself: as it is called,
// for so a virtual environment works, and without links.
type interpreter []string

func isPython(name string) bool {
	return strings.HasPrefix(name, "python") || strings.HasPrefix(name, "ipython") || strings.HasPrefix(name, "pypy")
}

// pythonAt is the interpreter of that name, nil for other programs.
func (c *command) pythonAt(name string, o *object) interpreter {
	if !isPython(path.Base(name)) && !isPython(path.Base(o.at)) {
		return nil
	}
	switch {
	case path.IsAbs(name):
		return interpreter{name, o.at}
	case strings.Contains(name, "/"):
		return interpreter{path.Join(c.cwd, name), o.at}
	}
	for _, dir := range c.bins {
		if found, err := c.open(dir + "/" + name); err == nil && found == o {
			return interpreter{dir + "/" + name, o.at}
		}
	}
	return interpreter{o.at}
}

// python is for an interpreter that is called with a script, or with -c or -m.
func (c *command) python(python interpreter, args []string) Library {
	for _, arg := range args {
		if isMPI4py(arg) || importsMPI(arg) {
			return c.mpi4py(python)
		}
		if _, file := c.lookUp(arg); file != "" {
			if importsMPI(c.read(file)) {
				return c.mpi4py(python)
			}
			return Library{}
		}
	}
	return Library{}
}

func isMPI4py(module string) bool { return module == "mpi4py" || strings.HasPrefix(module, "mpi4py.") }

// importsMPI tells of a program in Python whether it imports mpi4py, which calls
// MPI_Init.
func importsMPI(text string) bool {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' })
	return slices.ContainsFunc(lines, func(line string) bool {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r,", r) })
		switch {
		case len(words) < 2:
			return false
		case words[0] == "from":
			return isMPI4py(words[1])
		}
		return words[0] == "import" && slices.ContainsFunc(words[1:], isMPI4py)
	})
}

// mpi4py is the MPI that the interpreter's mpi4py is linked with. One that is linked with
// none opens it by name, and finds what the site gave.
func (c *command) mpi4py(python interpreter) Library {
	for _, dir := range c.modules(python) {
		for _, name := range c.names(dir + "/mpi4py") {
			if !strings.HasPrefix(name, "MPI.") || !strings.HasSuffix(name, ".so") {
				continue
			}
			if o := c.fitting(dir + "/mpi4py/" + name); o != nil {
				if mpi := c.mpiOf(o); mpi.Family != "" {
					return mpi
				}
				return c.given
			}
		}
	}
	return Library{}
}

// modules are the directories in which the interpreter looks for modules.
func (c *command) modules(python interpreter) []string {
	dirs := c.env.list("PYTHONPATH")
	var prefixes []string
	for _, at := range python {
		prefixes = append(prefixes, path.Dir(path.Dir(at)))
	}
	for _, prefix := range append(prefixes, c.env["HOME"]+"/.local", "/usr/local", "/usr") {
		for _, lib := range []string{prefix + "/lib", prefix + "/lib64"} {
			for _, name := range c.names(lib) {
				if strings.HasPrefix(name, "python3") {
					dirs = append(dirs, lib+"/"+name+"/site-packages", lib+"/"+name+"/dist-packages")
				}
			}
		}
	}
	return dirs
}

// names lists a directory of the view.
func (c *command) names(dir string) []string {
	c.steps--
	if c.steps < 0 || !path.IsAbs(dir) {
		return nil
	}
	in := c.dir(dir)
	if in == nil {
		return nil
	}
	names := in.tree.Names(in.path)
	slices.Sort(names)
	return names
}
