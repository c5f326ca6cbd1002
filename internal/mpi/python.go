package mpi

import (
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

func isPython(name string) bool {
	return strings.HasPrefix(name, "python") || strings.HasPrefix(name, "ipython") || strings.HasPrefix(name, "pypy")
}

// pythonAt returns the interpreter of that name, nil for other programs.
func (c *command) pythonAt(name string, o *linker.Object) *interpreter {
	if !isPython(path.Base(name)) && !isPython(path.Base(o.At)) {
		return nil
	}
	python := &interpreter{Object: o, called: o.At}
	switch {
	case path.IsAbs(name):
		python.called = path.Clean(name)
	case strings.Contains(name, "/"):
		python.called = path.Join(c.cwd, name)
	default:
		for _, dir := range strings.Split(c.get("PATH"), ":") {
			if found, err := c.p.image.Open(dir + "/" + name); err == nil && found == o {
				python.called = dir + "/" + name
				break
			}
		}
	}
	return python
}

// python follows an interpreter that is called with a script, or with -c or -m.
func (c *command) python(python *interpreter, args []string) {
	imports := &imports{command: c, known: map[string]bool{}}
	run := c.pythonArguments(python, args, imports)
	python.dirs = c.modulesOf(python)
	imports.dirs = append([]string{python.first}, python.dirs...)
	if run != "" {
		imports.module(run)
	}
	imports.follow()
	c.mpi4py(python, imports.mpi)
	for _, name := range imports.names {
		c.extensions(python, name)
	}
}

// pythonArguments follows what is executed: a text, or a module, whose name it returns.
func (c *command) pythonArguments(python *interpreter, args []string, imports *imports) (module string) {
	python.first = c.cwd
	for i := 0; i < len(args); i++ {
		arg, next := args[i], ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		switch {
		case len(arg) > 1 && arg[0] == '-' && arg[1] != '-':
			option := strings.IndexAny(arg, "cmWX")
			if option < 0 {
				python.isolated = python.isolated || strings.Contains(arg, "I")
				continue
			}
			value := arg[option+1:]
			if value == "" {
				value = next
				i++
			}
			switch arg[option] {
			case 'c':
				imports.text(value, "")
				return ""
			case 'm':
				c.pythonScript(python, args[min(i+1, len(args)):], imports, true) // python -m cProfile script.py
				return value
			}
		case arg == "-", len(arg) > 1 && arg[0] == '-':
		default:
			c.pythonScript(python, args[i:], imports, false)
			return ""
		}
	}
	return ""
}

// pythonScript follows a script in the arguments: the first argument, or with -m the
// first argument that is a script.
func (c *command) pythonScript(python *interpreter, args []string, imports *imports, later bool) {
	for _, arg := range args {
		if later && !strings.HasSuffix(arg, ".py") {
			continue
		}
		o, file := c.lookUp(arg)
		if o == nil && file == "" {
			file = path.Join(c.cwd, arg, "__main__.py")
			if path.IsAbs(arg) {
				file = path.Join(arg, "__main__.py")
			}
		}
		if !path.IsAbs(file) {
			file = path.Join(c.cwd, file)
		}
		if python.first = path.Dir(file); o == nil {
			imports.text(c.read(file), "")
		}
		return
	}
}

func isMPI4py(module string) bool { return module == "mpi4py" || strings.HasPrefix(module, "mpi4py.") }

// imports are the imports of a Python program: of its script, and of the modules that
// belong to it, as far as they are found.
type imports struct {
	*command
	dirs  []string // where modules are searched, the script's directory first
	known map[string]bool
	queue []string // modules to be read
	names []string // found beside, such as packages with libraries
	mpi   bool     // mpi4py is among them
}

const (
	mostModules    = 24 // that are read
	mostExtensions = 16 // packages whose libraries are examined
	mostLibraries  = 6  // of one package: most have the same MPI
)

// text records what a module of the package within imports.
func (m *imports) text(text, within string) {
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r,()\\", r) })
		if len(words) < 2 || words[0] != "from" && words[0] != "import" {
			continue
		}
		if words[0] == "import" {
			for i, name := range words[1:] {
				if words[i] != "as" && name != "as" {
					m.module(name)
				}
			}
			continue
		}
		from := absoluteModule(words[1], within)
		m.module(from)
		if len(words) > 3 && from != "" { // from package import module
			for _, name := range words[3:min(len(words), 8)] {
				if !isMPI4py(from) {
					m.module(from + "." + name)
				}
			}
		}
	}
}

// absoluteModule resolves a name that may begin with dots, relative to a package.
func absoluteModule(name, within string) string {
	if name == "" || name[0] != '.' {
		return name
	}
	name = name[1:]
	for strings.HasPrefix(name, ".") {
		name = name[1:]
		within = within[:max(strings.LastIndexByte(within, '.'), 0)]
	}
	if name == "" || within == "" {
		return within + name
	}
	return within + "." + name
}

func (m *imports) module(name string) {
	if isMPI4py(name) {
		m.mpi = true
		return
	}
	if name == "" || m.known[name] || len(m.known) > mostSteps || strings.Contains(name, "/") {
		return
	}
	m.known[name] = true
	m.queue = append(m.queue, name)
}

// follow reads modules until one imports mpi4py. For a package it also reads __init__.
func (m *imports) follow() {
	for n := 0; n < len(m.queue) && n < mostModules && !m.mpi; n++ {
		name := m.queue[n]
		top, _, _ := strings.Cut(name, ".")
		if !slices.Contains(m.names, top) && len(m.names) < mostExtensions {
			m.names = append(m.names, top)
		}
		for _, dir := range m.dirs {
			if m.moduleIn(dir, name) {
				break
			}
		}
	}
}

func (m *imports) moduleIn(dir, name string) bool {
	top, _, _ := strings.Cut(name, ".")
	d := m.p.image.Dir(dir)
	if !path.IsAbs(dir) || d == nil {
		return false
	}
	names := m.p.image.List(dir)
	if slices.Contains(names, top+".py") && top == name {
		m.text(m.read(dir+"/"+top+".py"), "")
		return true
	}
	if !slices.Contains(names, top) {
		return false
	}
	file := dir + "/" + strings.ReplaceAll(name, ".", "/")
	if text := m.read(file + ".py"); text != "" {
		m.text(text, name[:max(strings.LastIndexByte(name, '.'), 0)])
		return true
	}
	m.text(m.read(file+"/__init__.py"), name)
	m.text(m.read(file+"/__main__.py"), name)
	return true
}
