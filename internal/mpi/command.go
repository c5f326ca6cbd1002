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

// A command is followed to the MPIs that it will run with, if its program is not linked
// with one: through the arguments of a shell or a launcher, scripts, Python's imports,
// and what programs open. Only what is written there counts as certain: the image's MPI
// proves nothing about a command that does not mention it.
type command struct {
	p   *plan
	cwd string

	vars    map[string]string // set by scripts and launchers, over the job's environment
	loaders map[string]*loader
	texts   map[string]string // contents of scripts
	running map[string]bool   // shell scripts already followed
	steps   int               // how many more look-ups are allowed
	work    int               // bytes that expanding scripts has produced
	doubts  int               // nesting depth of code that may not be executed
	guesses int               // how many arguments were tried as programs
}

const (
	mostSteps  = 500
	mostScript = 256 << 10 // bytes of a script that are read
	mostDepth  = 16        // of programs that execute others
	mostGuess  = 64        // arguments of unknown programs that are tried as programs
)

// followCommand finds the MPIs that the task's command will use.
func (p *plan) followCommand() {
	p.newCommand().program(p.Program, p.Args, true, 0)
}

func (p *plan) newCommand() *command {
	return &command{
		p: p, cwd: p.Cwd, steps: mostSteps,
		vars: map[string]string{}, loaders: map[string]*loader{}, texts: map[string]string{}, running: map[string]bool{},
	}
}

// get returns the current value of a variable.
func (c *command) get(name string) string {
	if value, ok := c.vars[name]; ok {
		return value
	}
	return c.p.variable(name)
}

// variable returns a variable of the task's environment, and records that the decision
// depends on it.
func (p *plan) variable(name string) string {
	value := p.env[name]
	p.seen.variable(name, value)
	return value
}

// loader returns a loader with the current search path.
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

// program follows a program and its arguments, which may name further programs: for the
// task's own program always, in scripts only for programs that are known to execute
// their arguments. Variables that it sets are for the programs that it executes.
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

// arguments follows a command line that may begin with options of the program, and with
// assignments.
func (c *command) arguments(program string, args []string, depth int) {
	for i, arg := range args {
		if name, value, ok := assignment(arg); ok && !isShell(program) {
			c.vars[name] = value
			continue
		}
		if strings.ContainsAny(arg, " \t\n;$") {
			c.shellText(arg, args[i+1:], depth+1) // as for sh -c
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

// perhaps tries the arguments of an unknown program that are paths. An MPI found this
// way is replaced, but no warning or hint mentions it.
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

// add records a use of the command.
func (c *command) add(u *use) {
	u.certain = u.certain && c.doubts == 0
	c.p.add(u)
}

// unfound records a warning about a program.
func (c *command) unfound(format string, args ...any) {
	if c.doubts == 0 {
		c.p.unfound = append(c.p.unfound, fmt.Sprintf(format, args...))
	}
}

// lookUp finds a program, or the path of a file that is not a program. Interpreters
// open their scripts relative to the working directory.
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

// hasMPI records the MPI that a program is linked with, dynamically or statically.
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
		c.unfound("%s has a statically linked MPI, which the site's cannot replace", o.At)
	case p.kind == Linked, p.kind == Static:
		c.add(u)
	case p.lacks != "":
		c.unfound("%s needs %s, which cannot be found before the program starts: it may not run on the site's MPI", o.At, p.lacks)
	}
	return p.kind == Linked && !p.preload || p.kind == Static || p.lacks != ""
}

// open records the MPI that a program gets when it opens libraries.
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

// script follows a file whose first line names its interpreter; without one, a shell
// executes it.
func (c *command) script(file string, args []string, depth int) {
	text := c.read(file)
	first, _, _ := strings.Cut(text, "\n")
	line, ok := strings.CutPrefix(first, "#!")
	by := strings.Fields(line)
	if len(by) > 1 && path.Base(by[0]) == "env" {
		for by = by[1:]; len(by) > 1; by = by[1:] { // options and assignments
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

// read returns a script's text; empty if the file is not text.
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

// isLoader recognises the dynamic loader, which can be called as a program to execute
// another.
func isLoader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") || strings.HasPrefix(name, "ld-musl") || name == "ld.so"
}

// loaderArguments returns the arguments after its options; two of the options replace
// variables.
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

// executesArguments reports by its name whether a program executes its arguments.
func executesArguments(name string) bool {
	return isShell(name) || slices.Contains([]string{
		"env", "nice", "ionice", "nohup", "time", "timeout", "numactl", "taskset", "stdbuf", "setsid", "chrt", "setarch",
		"strace", "ltrace", "perf", "gdb", "valgrind", "catchsegv", "nsys", "ncu", "hpcrun", "tau_exec", "likwid-perfctr", "likwid-pin",
		"tini", "dumb-init", "gosu", "su-exec", "xvfb-run", "unbuffer", "hwloc-bind", "prlimit", "choom", "uv", "entrypoint.sh",
	}, name)
}

// startsRanks reports by its name whether a program starts ranks itself: they do not
// use this step's PMI.
func startsRanks(name string) bool {
	return strings.HasPrefix(name, "mpirun") || strings.HasPrefix(name, "mpiexec") ||
		slices.Contains([]string{"orterun", "prterun", "prun", "srun", "sbatch", "salloc"}, name)
}
