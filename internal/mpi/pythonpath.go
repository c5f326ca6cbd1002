package mpi

import (
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// An interpreter of Python finds its modules relative to its own path: as it is called,
// which makes virtual environments work, and with links resolved.
type interpreter struct {
	*linker.Object
	called string

	isolated bool     // -I: ignore the environment and the home
	first    string   // sys.path[0]
	dirs     []string // the rest of sys.path: installed modules
	prefixes []string // sys.prefix, or the candidates for it, and its base
}

// Bounds of what is read in a directory of modules.
const (
	mostPathFiles = 32
	mostPathLines = 128
)

// modulesOf returns the directories in which the interpreter searches installed
// modules.
func (c *command) modulesOf(python *interpreter) []string {
	var dirs []string
	if !python.isolated {
		for _, dir := range strings.Split(c.get("PYTHONPATH"), ":") {
			if dir != "" {
				dirs = append(dirs, path.Join("/", pathIn(c.cwd, dir)))
			}
		}
	}
	bases, alone := c.virtual(python)
	if bases == nil {
		bases = []string{path.Dir(path.Dir(python.called)), path.Dir(path.Dir(python.At)), "/usr/local", "/usr"}
		if home := c.get("PYTHONHOME"); home != "" && !python.isolated {
			bases = append([]string{home}, bases...)
		}
	}
	if user := c.userBase(); user != "" && !alone && !python.isolated {
		bases = append([]string{user}, bases...)
	}
	for _, base := range bases {
		if !path.IsAbs(base) || slices.Contains(python.prefixes, base) {
			continue
		}
		python.prefixes = append(python.prefixes, base)
		dirs = append(dirs, c.sitesOf(base)...)
	}
	return dirs
}

func pathIn(cwd, dir string) string {
	if path.IsAbs(dir) {
		return dir
	}
	return path.Join(cwd, dir)
}

// virtual returns the virtual environment that the interpreter is called in and, if its
// configuration says so, the installation it was made from; nil for none.
func (c *command) virtual(python *interpreter) (prefixes []string, alone bool) {
	bin := path.Dir(python.called)
	for _, dir := range []string{bin, path.Dir(bin)} {
		text := c.read(path.Join(dir, "pyvenv.cfg"))
		if text == "" {
			continue
		}
		prefixes, alone = []string{dir}, true
		home := ""
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(line, "=")
			value = strings.TrimSpace(value)
			switch strings.ToLower(strings.TrimSpace(key)) {
			case "home":
				home = value
			case "include-system-site-packages":
				alone = strings.ToLower(value) != "true"
			}
		}
		if !alone {
			prefixes = append(prefixes, path.Dir(home), "/usr/local", "/usr")
		}
		return prefixes, alone
	}
	return nil, false
}

// userBase returns where pip install --user puts packages; empty if it is not used.
func (c *command) userBase() string {
	if c.get("PYTHONNOUSERSITE") != "" {
		return ""
	}
	if base := c.get("PYTHONUSERBASE"); base != "" {
		return base
	}
	if home := c.get("HOME"); home != "" {
		return home + "/.local"
	}
	return ""
}

// sitesOf lists the directories of modules below a prefix, and those that files in them
// add.
func (c *command) sitesOf(prefix string) (dirs []string) {
	for _, lib := range []string{prefix + "/lib", prefix + "/lib64"} {
		versions := c.names(lib)
		slices.Reverse(versions)
		for _, version := range versions {
			if !strings.HasPrefix(version, "python3") && !strings.HasPrefix(version, "pypy3") {
				continue
			}
			for _, kind := range []string{"/site-packages", "/dist-packages"} {
				dir := lib + "/" + version + kind
				if c.p.image.Dir(dir) != nil {
					dirs = append(dirs, dir)
					dirs = append(dirs, c.addedBy(dir)...)
				}
			}
		}
	}
	return dirs
}

// addedBy reads the files NAME.pth of a directory: each line is another directory, or
// code, which is skipped.
func (c *command) addedBy(dir string) (added []string) {
	files := 0
	for _, name := range c.names(dir) {
		if !strings.HasSuffix(name, ".pth") {
			continue
		}
		if files++; files > mostPathFiles {
			break
		}
		lines := 0
		for line := range strings.Lines(c.read(dir + "/" + name)) {
			line = strings.TrimSpace(line)
			if lines++; lines > mostPathLines {
				break
			}
			if line == "" || line[0] == '#' || strings.HasPrefix(line, "import ") || strings.HasPrefix(line, "import\t") {
				continue
			}
			if at := pathIn(dir, line); c.p.image.Dir(at) != nil {
				added = append(added, at)
			}
		}
	}
	return added
}

// names lists a directory of the view.
func (c *command) names(dir string) []string {
	c.steps--
	if c.steps < 0 || !path.IsAbs(dir) {
		return nil
	}
	names := slices.Clone(c.p.image.List(dir))
	slices.Sort(names)
	return names
}
