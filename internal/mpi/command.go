package mpi

import (
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ocishim/ocishim/internal/linker"
)

// A command is followed to the MPIs that it will run with, where its program is linked
// with none itself: by the arguments of a shell or a launcher, by scripts, by Python's
// imports, and by what programs open. Only what is written there counts as certain. That
// the image has an MPI says nothing of a command, and one that uses none is not to be
// taken for one that does.
type command struct {
	p   *plan
	cwd string

	vars    map[string]string // what scripts and launchers have set, over the job's environment
	loaders map[string]*loader
	texts   map[string]string // of scripts
	running map[string]bool   // shell scripts that were looked at
	steps   int               // how much more is looked up
	work    int               // bytes that scripts have become
	doubts  int               // how often what is looked at may not be executed
	guesses int               // how many arguments were looked at so
}

const (
	mostSteps  = 500
	mostScript = 256 << 10 // bytes of one that are looked at
	mostDepth  = 16        // of programs that execute others
	mostGuess  = 64        // arguments of others that may be programs
)

// followCommand finds the MPIs that the task's command comes to.
func (p *plan) followCommand() {
	p.newCommand().program(p.Program, p.Args, true, 0)
}

func (p *plan) newCommand() *command {
	return &command{
		p: p, cwd: p.Cwd, steps: mostSteps,
		vars: map[string]string{}, loaders: map[string]*loader{}, texts: map[string]string{}, running: map[string]bool{},
	}
}

// get is a variable as the command has it by now.
func (c *command) get(name string) string {
	if value, ok := c.vars[name]; ok {
		return value
	}
	return c.p.variable(name)
}

// variable is one of the task's environment, on which the decision rests from now on.
func (p *plan) variable(name string) string {
	value := p.env[name]
	p.seen.variable(name, value)
	return value
}

// loader goes by the search path that the command has by now.
func (c *command) loader() *loader {
	const search, preload = "LD_LIBRARY_PATH", "LD_PRELOAD"
	env := environment{search: c.get(search), preload: c.get(preload)}
	if c.cwd == c.p.Cwd && env[search] == c.p.env[search] && env[preload] == c.p.env[preload] {
		return c.p.image
	}
	key := env[search] + "\x00" + env[preload] + "\x00" + c.cwd
	if c.loaders[key] == nil {
		c.loaders[key] = &loader{c.p.image.In(env.ofLoader(c.cwd))}
	}
	return c.loaders[key]
}

// program is one with its arguments, which may name further programs: of any that the
// task begins with, of those in scripts where it is known to execute them. What it sets
// is for what it executes.
func (c *command) program(name string, args []string, first bool, depth int) {
	if depth > mostDepth || startsRanks(path.Base(name)) {
		return
	}
	vars, cwd := c.vars, c.cwd
	c.vars = maps.Clone(vars)
	defer func() { c.vars, c.cwd = vars, cwd }()
	o, file := c.lookUp(name)
	switch {
	case file != "":
		c.script(file, args, depth+1)
		return
	case o == nil || c.hasMPI(o):
		return
	}
	base := path.Base(name)
	switch python := c.pythonAt(name, o); {
	case python != nil:
		c.python(python, args)
		return
	case isConda(base) && len(args) > 0 && args[0] == "run":
		c.arguments(base, c.activateFor(args[1:]), depth)
		return
	case strings.HasPrefix(base, "julia"):
		c.julia(o, args)
		return
	case base == "Rscript" || base == "R":
		c.r(o, args)
		return
	case isLoader(base):
		args = c.loaderArguments(args)
		fallthrough
	case first, executesArguments(base):
		c.login(base, args, depth)
		c.arguments(base, args, depth)
	default:
		c.perhaps(args, depth)
	}
	if !executesArguments(base) && !isLoader(base) {
		c.opened(o)
	}
}

// arguments may begin with options of the program's own, and with what it assigns.
func (c *command) arguments(program string, args []string, depth int) {
	for i, arg := range args {
		if name, value, ok := assignment(arg); ok && !isShell(program) {
			c.vars[name] = value
			continue
		}
		if strings.ContainsAny(arg, " \t\n;$") {
			c.shellText(arg, args[i+1:], depth+1) // as sh -c has it
			if isShell(program) {
				return
			}
			continue
		}
		if o, file := c.lookUp(arg); o != nil || file != "" {
			c.program(arg, args[i+1:], false, depth+1)
			return
		}
	}
}

// perhaps looks at arguments of a program that is not known to execute them: those that are
// paths. An MPI that is found so is put in place, and nothing is said of it.
func (c *command) perhaps(args []string, depth int) {
	c.doubts++
	defer func() { c.doubts-- }()
	for i, arg := range args {
		if !strings.Contains(arg, "/") || strings.ContainsAny(arg, " \t\n;$=") || c.guesses == mostGuess {
			continue
		}
		c.guesses++
		if o, file := c.lookUp(arg); o != nil || file != "" {
			c.program(arg, args[i+1:], false, depth+1)
			return
		}
	}
}

// add notes a use of the command.
func (c *command) add(u *use) {
	u.certain = u.certain && c.doubts == 0
	c.p.add(u)
}

// unfound notes what is said of a program.
func (c *command) unfound(format string, args ...any) {
	if c.doubts == 0 {
		c.p.unfound = append(c.p.unfound, fmt.Sprintf(format, args...))
	}
}

// lookUp finds a program, or the path of a file that is none. Interpreters open their
// scripts from the working directory.
func (c *command) lookUp(name string) (o *linker.Object, file string) {
	c.steps--
	if c.steps < 0 || name == "" || name[0] == '-' || len(name) > 4096 {
		return nil, ""
	}
	o, file = c.p.image.findProgram(name, c.cwd, strings.Split(c.get("PATH"), ":"))
	if o == nil && file == "" && strings.Contains(name, ".") {
		o, file = c.p.image.findProgram("./"+name, c.cwd, nil)
	}
	return o, file
}

// hasMPI notes the MPI that a program is linked with, or has inside.
func (c *command) hasMPI(o *linker.Object) bool {
	if o.Class != elf.ELFCLASS64 {
		return false
	}
	l := c.loader()
	p := l.linked(o)
	u := &use{mpi: p.mpi, loader: l, program: o, process: p.process, who: o.At, certain: true, static: p.kind == Static}
	if o == c.p.program.object {
		u.who = ""
	}
	switch {
	case p.kind == Static && p.mpi.Family == "":
		c.unfound("%s has an MPI of its own, linked statically: it does not run on the site's", o.At)
	case p.kind == Linked, p.kind == Static:
		c.add(u)
	case p.lacks != "":
		c.unfound("%s needs %s, which is found nowhere by what is known before it starts: whether it runs on the site's is not known", o.At, p.lacks)
	}
	return p.kind == Linked && !p.preload || p.kind == Static || p.lacks != ""
}

// open notes the MPI that a program comes to when it opens libraries.
func (c *command) open(o *linker.Object, who string, certain bool, names ...string) bool {
	l := c.loader()
	if last := names[len(names)-1]; path.IsAbs(last) && l.Fitting(last) == nil {
		return false
	}
	p := l.Start(o, names...)
	mpi, at := l.mpiIn(p)
	if at == nil {
		return false
	}
	if who == o.At && o == c.p.program.object {
		who = ""
	}
	c.add(&use{mpi: mpi, loader: l, program: o, opens: names, process: p, who: who, certain: certain})
	return true
}

// script reads a file that says by its first line what executes it; without one a shell
// does.
func (c *command) script(file string, args []string, depth int) {
	text := c.read(file)
	first, _, _ := strings.Cut(text, "\n")
	line, ok := strings.CutPrefix(first, "#!")
	by := strings.Fields(line)
	if len(by) > 1 && path.Base(by[0]) == "env" {
		for by = by[1:]; len(by) > 1; by = by[1:] { // options and what it sets
			name, value, assigns := assignment(by[0])
			if assigns {
				c.vars[name] = value
			} else if by[0][0] != '-' {
				break
			}
		}
	}
	switch {
	case !ok || len(by) == 0 || isShell(by[0]):
		if !c.running[file] {
			c.running[file] = true
			if len(by) > 0 {
				c.login(by[0], by[1:], depth)
			}
			c.shellText(text, append([]string{file}, args...), depth)
		}
	case !c.running[file]:
		c.running[file] = true
		c.program(by[0], slices.Concat(by[1:], []string{file}, args), false, depth)
	}
}

// read is a script's text; empty for what is no text.
func (c *command) read(file string) string {
	in, err := c.p.image.Resolve(file)
	if err != nil {
		c.p.image.Lacks(path.Clean("/" + file))
		return ""
	}
	text, ok := c.texts[in.At]
	if !ok && c.steps > 0 {
		c.steps--
		text = readText(in)
		c.texts[in.At] = text
		if id, err := in.Tree.Identity(in.Path); err == nil {
			c.p.image.Saw(file, in, id)
		}
	}
	return text
}

func readText(in linker.Place) string {
	f, err := in.Tree.OpenFile(in.Path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostScript))
	if err != nil || slices.Contains(data, 0) || !utf8.Valid(data) {
		return ""
	}
	return string(data)
}

func isShell(name string) bool { return strings.HasSuffix(name, "sh") }

// isLoader recognises the dynamic loader, which executes a program when it is one itself.
func isLoader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") || strings.HasPrefix(name, "ld-musl") || name == "ld.so"
}

// loaderArguments are those after its options, two of which say what a variable says.
func (c *command) loaderArguments(args []string) []string {
	for len(args) > 1 && strings.HasPrefix(args[0], "--") {
		option, value, found := strings.Cut(args[0], "=")
		variable := map[string]string{"--library-path": "LD_LIBRARY_PATH", "--preload": "LD_PRELOAD"}[option]
		takes := variable != "" || slices.Contains([]string{"--argv0", "--inhibit-rpath", "--audit", "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"}, option)
		if takes && !found {
			value, args = args[1], args[1:]
		}
		if variable != "" {
			c.vars[variable] = value
		}
		args = args[1:]
	}
	return args
}

// executesArguments tells of a program by its name that it executes what its arguments
// say.
func executesArguments(name string) bool {
	return isShell(name) || slices.Contains([]string{
		"env", "nice", "ionice", "nohup", "time", "timeout", "numactl", "taskset", "stdbuf", "setsid", "chrt", "setarch",
		"strace", "ltrace", "perf", "gdb", "valgrind", "catchsegv", "nsys", "ncu", "hpcrun", "tau_exec", "likwid-perfctr", "likwid-pin",
		"tini", "dumb-init", "gosu", "su-exec", "xvfb-run", "unbuffer", "hwloc-bind", "prlimit", "choom", "uv", "entrypoint.sh",
	}, name)
}

// startsRanks tells of a program by its name that it starts ranks itself: it is not this
// step's PMI that they find.
func startsRanks(name string) bool {
	return strings.HasPrefix(name, "mpirun") || strings.HasPrefix(name, "mpiexec") ||
		slices.Contains([]string{"orterun", "prterun", "prun", "srun", "sbatch", "salloc"}, name)
}
