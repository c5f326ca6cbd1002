package mpi

import (
	"debug/elf"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// A command is followed to the MPI that it will run with, where its program is linked
// with none itself: by the arguments of a shell or a launcher, by scripts, and by Python's
// imports. Only what is written there counts. That the image has an MPI says nothing of
// a command, and one that uses none is not to be taken for one that does.
type command struct {
	*loader
	cwd   string
	bins  []string // PATH
	env   environment
	given Library // the site's MPI, where it was put in the place of the image's

	known map[string]bool // scripts that were read
	steps int             // how much more is looked up
}

const (
	mostSteps  = 500
	mostScript = 256 << 10 // bytes of one that are looked at
	mostDepth  = 16        // of programs that execute others
)

// reached is the MPI of the first program that the command comes to; no Family: none.
func (p *plan) reached() Library {
	c := &command{
		loader: p.image, cwd: p.Cwd, bins: p.env.list("PATH"), env: p.env, given: p.speaks,
		known: map[string]bool{}, steps: mostSteps,
	}
	return c.program(p.Program, p.Args, true, 0)
}

// program is one with its arguments, which may name further programs: of any that the
// task begins with, of those in scripts where it is known to execute them.
func (c *command) program(name string, args []string, first bool, depth int) Library {
	if depth > mostDepth || startsRanks(path.Base(name)) {
		return Library{}
	}
	o, file := c.lookUp(name)
	switch {
	case file != "":
		return c.script(file, args, depth+1)
	case o == nil:
		return Library{}
	}
	if mpi := c.mpiOf(o); mpi.Family != "" {
		return mpi
	}
	switch python := c.pythonAt(name, o); {
	case python != nil:
		return c.python(python, args)
	case first, executesArguments(path.Base(name)):
		return c.arguments(args, depth)
	}
	return Library{}
}

// arguments may begin with options of the program's own, and with what it assigns.
func (c *command) arguments(args []string, depth int) Library {
	for i, arg := range args {
		if strings.ContainsAny(arg, " \t\n;") {
			return c.shellText(arg, depth+1) // as sh -c has it
		}
		if o, file := c.lookUp(arg); o != nil || file != "" {
			return c.program(arg, args[i+1:], false, depth+1)
		}
	}
	return Library{}
}

// lookUp finds a program, or the path of a file that is none. Interpreters open their
// scripts from the working directory.
func (c *command) lookUp(name string) (o *object, file string) {
	c.steps--
	if c.steps < 0 || name == "" || name[0] == '-' || len(name) > 4096 {
		return nil, ""
	}
	o, file = c.findProgram(name, c.cwd, c.bins)
	if o == nil && file == "" && strings.Contains(name, ".") {
		o, file = c.findProgram("./"+name, c.cwd, nil)
	}
	return o, file
}

// mpiOf is the MPI that a program is linked with, or has inside.
func (c *command) mpiOf(o *object) Library {
	if o.Class != elf.ELFCLASS64 {
		return Library{}
	}
	p := c.linked(o)
	if p.kind == Linked && p.mpi.Family == c.given.Family {
		return c.given
	}
	return p.mpi
}

// script reads a file that says by its first line what executes it; without one a shell
// does.
func (c *command) script(file string, args []string, depth int) Library {
	text := c.read(file)
	first, _, _ := strings.Cut(text, "\n")
	line, ok := strings.CutPrefix(first, "#!")
	by := strings.Fields(line)
	if len(by) > 1 && path.Base(by[0]) == "env" {
		by = by[1:]
	}
	switch {
	case !ok || len(by) == 0 || strings.HasSuffix(by[0], "sh"):
		return c.shellText(text+"\n"+strings.Join(args, " "), depth) // it may end with exec "$@"
	case isPython(path.Base(by[0])):
		if o, _ := c.lookUp(by[0]); o != nil && importsMPI(text) {
			return c.mpi4py(c.pythonAt(by[0], o))
		}
	}
	return Library{}
}

// read is a script's text, once; empty for what is no text.
func (c *command) read(file string) string {
	in, err := c.resolve(file)
	if err != nil || c.known[in.at] {
		return ""
	}
	c.known[in.at] = true
	f, err := in.tree.OpenFile(in.path)
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

// shellText looks at the commands of a shell's script, as far as they can be told without
// executing it.
func (c *command) shellText(text string, depth int) Library {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		for _, simple := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(";|&()`\n", r) }) {
			words := strings.FieldsFunc(simple, func(r rune) bool { return strings.ContainsRune(" \t\"'<>", r) })
			for len(words) > 0 && goesBefore(words[0]) {
				words = words[1:]
			}
			if len(words) == 0 {
				continue
			}
			if mpi := c.program(words[0], words[1:], false, depth); mpi.Family != "" {
				return mpi
			}
		}
	}
	return Library{}
}

// goesBefore tells of a word in a shell's script that a command may follow it.
func goesBefore(word string) bool {
	name, _, assigns := strings.Cut(word, "=")
	return assigns && !strings.Contains(name, "/") || slices.Contains([]string{
		"exec", "command", "builtin", "eval", "time", "if", "then", "else", "elif", "while", "until", "do", "!", "{", "}",
	}, word)
}

// executesArguments tells of a program by its name that it executes what its arguments
// say.
func executesArguments(name string) bool {
	return strings.HasSuffix(name, "sh") || slices.Contains([]string{
		"env", "nice", "ionice", "nohup", "time", "timeout", "numactl", "taskset", "stdbuf", "setsid", "chrt", "setarch",
		"strace", "ltrace", "perf", "gdb", "valgrind", "catchsegv",
	}, name)
}

// startsRanks tells of a program by its name that it starts ranks itself: it is not this
// step's PMI that they find.
func startsRanks(name string) bool {
	return strings.HasPrefix(name, "mpirun") || strings.HasPrefix(name, "mpiexec") ||
		slices.Contains([]string{"orterun", "prterun", "prun", "srun", "sbatch", "salloc"}, name)
}
