package mpi

import (
	"debug/elf"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// A Kind is how a task's program stands to MPI.
type Kind string

// The kinds.
const (
	// Linked programs need an MPI library, themselves or by another library.
	Linked Kind = "linked"

	// Wrapping programs are linked with none, and may load or execute what is:
	// scripts, shells, interpreters. For them the image's MPI counts.
	Wrapping Kind = "wrapping"

	// Static programs have an MPI within themselves; nothing can take its place.
	Static Kind = "static"

	// Foreign programs have to do with no MPI, or are not to be found.
	Foreign Kind = "foreign"
)

// A program is what a task executes.
type program struct {
	kind    Kind
	object  *linker.Object
	process *linker.Process
	mpi     Library // no Family: there is none, or a static one that is not known
	lacks   string  // an MPI by its name, which it needs and the loader does not find
	preload bool    // it is linked with an MPI by what is preloaded only
}

// executors are the functions by which a program comes to others, or to libraries
// that it is not linked with.
func executors() []string {
	return []string{
		"dlopen", "dlmopen", "execv", "execve", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve",
		"posix_spawn", "posix_spawnp", "system", "popen",
	}
}

// findProgram is execvp(3) in the container. Of what is no ELF file, such as a script,
// it returns the path.
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
	case p.kind == Foreign && p.process == nil && (executesArguments(base) || isConda(base) || isLoader(base)): // linked statically
		p.kind = Wrapping
	case p.kind == Linked && p.preload, p.kind == Foreign && p.process != nil && l.executes(p.process):
		p.kind = Wrapping
	}
	return p
}

// linked finds out whether a program has an MPI, by its libraries or in itself.
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
			return p // its names of functions are those of what it lacks
		}
	}
	if has, err := o.In.Tree.Contains(o.In.Path, "MPI_Init"); err == nil && has["MPI_Init"] {
		p.kind, p.mpi = Static, staticMPI(o, p.process) // it may have all else linked dynamically
	}
	return p
}

// mpiIn is the first MPI of a process, which is the one whose functions are called.
func (l *loader) mpiIn(p *linker.Process) (Library, *linker.Loaded) {
	for _, o := range p.Objects {
		if mpi, ok := identifyMPI(o.Object); ok {
			mpi.PMI = l.pmiOf(mpi, p)
			return mpi, o
		}
	}
	return Library{}, nil
}

// executes tells whether what the process is made of can load or execute others; of
// glibc itself every process has that.
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

// ofImage is the MPI that a program without search paths of its own would get.
func (l *loader) ofImage(names []string) Library {
	for _, name := range names {
		o := l.Search(name, l.Path)
		if o == nil {
			continue
		}
		if mpi, ok := identifyMPI(o); ok {
			return mpi // how it learns of its ranks is nobody's question
		}
	}
	return Library{}
}

// A loader looks at programs as the dynamic loader would, for their MPI.
type loader struct{ *linker.Loader }
