package mpi

import (
	"path"
	"slices"
	"strings"
)

// Scripts find programs of conda environments, virtual environments and environment
// modules by setting variables; this file follows them.

func isConda(name string) bool {
	return name == "conda" || name == "mamba" || name == "micromamba"
}

// login reads the files that a shell executes before its script: for a login shell
// those of the image and the home, otherwise the file named by a variable.
func (c *command) login(shell string, args []string, depth int) {
	if !isShell(shell) {
		return
	}
	var files []string
	if slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--login" || len(arg) > 1 && arg[0] == '-' && arg[1] != '-' && strings.Contains(arg, "l")
	}) {
		files = []string{"/etc/profile"}
		for _, name := range c.names("/etc/profile.d") {
			if strings.HasSuffix(name, ".sh") && len(files) < mostPathFiles {
				files = append(files, "/etc/profile.d/"+name)
			}
		}
		if home := c.get("HOME"); home != "" {
			files = append(files, home+"/.bash_profile", home+"/.profile")
		}
	} else if strings.HasSuffix(shell, "bash") {
		files = []string{c.get("BASH_ENV")}
	}
	for _, file := range files {
		if path.IsAbs(file) {
			(&scanner{command: c, text: c.read(file), depth: depth + 1}).run()
		}
	}
}

// activate puts the programs of an environment first in PATH.
func (c *command) activate(prefix string) {
	c.vars["PATH"] = prefix + "/bin:" + c.get("PATH")
	c.vars["CONDA_PREFIX"] = prefix
}

// activateFor reads the arguments of conda run or conda activate and returns what
// follows the environment's name.
func (c *command) activateFor(args []string) (rest []string) {
	name := ""
	for len(args) > 0 {
		switch arg := args[0]; {
		case slices.Contains([]string{"-n", "--name", "-p", "--prefix"}, arg) && len(args) > 1:
			name, args = args[1], args[1:]
		case arg[:min(1, len(arg))] == "-" || arg == "":
		case name == "" && !c.exists(arg):
			name = arg
		default:
			c.activateNamed(name)
			return args
		}
		args = args[1:]
	}
	c.activateNamed(name)
	return nil
}

// exists reports whether a word is a program, and not the name of an environment.
func (c *command) exists(word string) bool {
	if strings.Contains(word, "/") {
		return false
	}
	o, file := c.lookUp(word)
	return o != nil || file != ""
}

// activateNamed finds an environment by its path, or by name in the usual places of
// conda.
func (c *command) activateNamed(name string) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(c.cwd, name)
		}
		c.activate(name)
		return
	}
	home := c.get("HOME")
	roots := []string{
		path.Dir(path.Dir(c.get("CONDA_EXE"))), c.get("MAMBA_ROOT_PREFIX"), "/opt/conda", "/opt/miniconda3", "/opt/miniforge3", "/opt/mamba",
		home + "/.conda", home + "/miniconda3", home + "/miniforge3", home + "/anaconda3", home + "/mambaforge", home + "/micromamba",
	}
	for _, root := range roots {
		at := root + "/envs/" + name
		if name == "base" || name == "" {
			at = root
		}
		if path.IsAbs(at) && c.isEnvironment(at) {
			c.activate(at)
			return
		}
	}
}

func (c *command) isEnvironment(prefix string) bool {
	d := c.p.image.Dir(prefix)
	return d != nil && d.Has("conda-meta")
}

// modules applies what environment modules set: the search paths, as EasyBuild and
// Spack write them.
func (c *command) modules(args []string) {
	if len(args) == 0 || !slices.Contains([]string{"load", "add"}, args[0]) && strings.HasPrefix(args[0], "-") {
		return
	}
	for _, name := range args {
		if name == "load" || name == "add" || name == "" || name[0] == '-' {
			continue
		}
		c.module(name)
	}
}

func (c *command) module(name string) {
	dirs := strings.Split(c.get("MODULEPATH"), ":")
	dirs = append(dirs, "/usr/share/modulefiles", "/usr/share/Modules/modulefiles", "/etc/modulefiles", "/usr/share/modules/modulefiles", "/opt/modulefiles")
	for _, dir := range dirs {
		if !path.IsAbs(dir) {
			continue
		}
		at := path.Join(dir, name)
		files := []string{at, at + ".lua"}
		if versions := c.names(at); len(versions) > 0 {
			files = []string{at + "/" + versions[len(versions)-1]}
		}
		for _, file := range files {
			if text := c.read(file); text != "" {
				c.moduleText(text)
				return
			}
		}
	}
}

// moduleText reads a module file in Tcl or Lua, as far as it sets plain values.
func (c *command) moduleText(text string) {
	values := map[string]string{}
	plain := strings.NewReplacer("(", " ", ")", " ", ",", " ", `"`, " ", "'", " ", "[", " ", "]", " ", "{", " ", "}", " ", ";", " ")
	for line := range strings.Lines(text) {
		words := strings.Fields(plain.Replace(line))
		if len(words) < 3 || len(values) > mostSteps {
			continue
		}
		switch words[0] {
		case "set", "local":
			values[words[1]] = moduleValue(values, words[2:])
		case "prepend-path", "prepend_path":
			c.prepend(words[1], moduleValue(values, words[2:]))
		case "setenv":
			c.vars[words[1]] = moduleValue(values, words[2:])
		}
	}
}

// moduleValue returns a value, or the result of pathJoin on several.
func moduleValue(values map[string]string, words []string) string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" || w == "pathJoin" })
	for i, word := range words {
		if value, ok := values[word]; ok && !strings.Contains(word, "/") {
			words[i] = value
			continue
		}
		if strings.HasPrefix(word, "$") {
			name, rest, _ := strings.Cut(word[1:], "/")
			words[i] = values[name]
			if rest != "" {
				words[i] += "/" + rest
			}
		}
	}
	value := strings.Join(words, "/")
	if len(value) > mostWord {
		return ""
	}
	return value
}

func (c *command) prepend(name, dir string) {
	value := dir
	if before := c.get(name); before != "" {
		value += ":" + before
	}
	if len(value) <= mostWord {
		c.vars[name] = value
	}
}
