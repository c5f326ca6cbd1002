package mpi

import (
	"debug/elf"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// A Kind says how a task's program uses MPI.
type Kind string

// The kinds.
const (
	// Linked programs need an MPI library, directly or through another library.
	Linked Kind = "linked"

	// Wrapping programs are not linked with an MPI, but may load or execute what is:
	// scripts, shells, interpreters. For them the image's MPI counts.
	Wrapping Kind = "wrapping"

	// Static programs contain an MPI, which cannot be replaced.
	Static Kind = "static"

	// Foreign programs do not use MPI, or do not exist.
	Foreign Kind = "foreign"
)

// A program is what a task executes.
type program struct {
	kind    Kind
	object  *linker.Object
	process *linker.Process
	mpi     Library // without Family: it has no MPI, or an unknown static one
	lacks   string  // the name of an MPI that it needs and the loader does not find
	preload bool    // it is linked with an MPI only through LD_PRELOAD
}

// executors are the functions by which a program executes others, or loads libraries
// that it is not linked with.
func executors() []string {
	return []string{
		"dlopen", "dlmopen", "execv", "execve", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve",
		"posix_spawn", "posix_spawnp", "system", "popen",
	}
}

// findProgram is execvp(3) in the container. For a file that is not ELF, such as a
// script, it returns the path.
func (l *loader) findProgram(name, cwd string, search []string) (o *linker.Object, script string) {
	var candidates []string
	switch {
	case path.IsAbs(name):
		candidates = []string{name}
	case strings.Contains(name, "/"):
		candidates = []string{path.Join(cwd, name)}
	default:
		for _, dir := range search {
			if path.IsAbs(dir) {
				candidates = append(candidates, dir+"/"+name)
			}
		}
	}
	for _, file := range candidates {
		o, err := l.Open(file)
		if err == nil {
			return o, ""
		}
		if in, err := l.Resolve(file); err == nil && in.Tree.IsFile(in.Path) {
			if id, err := in.Tree.Identity(in.Path); err == nil {
				l.Saw(file, in, id)
				return nil, file
			}
		}
	}
	return nil, ""
}

// examine finds out what the task's program is.
func (l *loader) examine(name, cwd string, search []string) program {
	o, script := l.findProgram(name, cwd, search)
	switch {
	case script != "":
		return program{kind: Wrapping}
	case o == nil || o.Class != elf.ELFCLASS64:
		return program{kind: Foreign}
	}
	p := l.linked(o)
	base := path.Base(name)
	switch {
	case p.kind == Foreign && p.process == nil && (executesArguments(base) || isConda(base) || isLoader(base)): // statically linked
		p.kind = Wrapping
	case p.kind == Linked && p.preload, p.kind == Foreign && p.process != nil && l.executes(p.process):
		p.kind = Wrapping
	}
	return p
}

// linked finds out whether a program has an MPI, in its libraries or inside itself.
func (l *loader) linked(o *linker.Object) program {
	p := program{kind: Foreign, object: o}
	if o.Dynamic && (o.Interp != "" || len(o.Needed) > 0) {
		p.process = l.Start(o)
		if mpi, at := l.mpiIn(p.process); at != nil {
			p.kind, p.mpi, p.preload = Linked, mpi, p.process.IsPreload(at)
			return p
		}
		if m := slices.IndexFunc(p.process.Missing, func(m linker.Missing) bool { return isMPIName(m.Name) }); m >= 0 {
			p.lacks = p.process.Missing[m].Name
			return p // functions in it belong to the MPI that it lacks
		}
	}
	if has, err := o.In.Tree.Contains(o.In.Path, "MPI_Init"); err == nil && has["MPI_Init"] {
		p.kind, p.mpi = Static, staticMPI(o, p.process) // it may be linked dynamically with everything else
	}
	return p
}

// mpiIn returns the first MPI of a process, whose functions are called.
func (l *loader) mpiIn(p *linker.Process) (Library, *linker.Loaded) {
	for _, o := range p.Objects {
		if mpi, ok := identifyMPI(o.Object); ok {
			mpi.PMI = l.pmiOf(mpi, p)
			return mpi, o
		}
	}
	return Library{}, nil
}

// executes reports whether a process can load or execute others, apart from glibc
// itself, which always can.
func (l *loader) executes(p *linker.Process) bool {
	for _, o := range p.Objects {
		if linker.IsLibc(o.Name()) {
			continue
		}
		imports, err := o.In.Tree.Imports(o.In.Path, executors()...)
		if err == nil && len(imports) > 0 {
			return true
		}
	}
	return false
}

// ofImage returns the MPI that a program without search paths of its own would load.
func (l *loader) ofImage(names []string) Library {
	for _, name := range names {
		o := l.Search(name, l.Path)
		if o == nil {
			continue
		}
		if mpi, ok := identifyMPI(o); ok {
			return mpi // without its PMI, which is not needed
		}
	}
	return Library{}
}

// A loader examines programs by the dynamic loader's rules to find their MPI.
type loader struct{ *linker.Loader }
