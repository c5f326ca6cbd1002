package mpi

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// An Installed is an MPI of the host, with the settings for a first profile.
type Installed struct {
	Library
	Replace []string // the MPI, and the libraries beside it that belong to it
	Closure []string // directories of libraries that the host's loader does not search
	Prefix  string   // of an Open MPI
	Fabric  []string // fabrics whose libraries it needs and whose devices the host has
	Missing []string // libraries that were not found
}

// Detect describes the libraries at the given paths. Without paths it describes all
// that the host's loader finds under the name of an MPI: in the search path, which is
// that of LD_LIBRARY_PATH, and in its cache.
func Detect(node *host.Tree, arch string, search, paths []string) ([]Installed, error) {
	l := loader{linker.New(linker.NewView(node, nil), arch, search)}
	l.Trusted = true
	defer l.Close()
	if cache, err := linker.ReadCache(node); err == nil {
		l.Cache = cache
	}
	given := len(paths) > 0
	if !given {
		paths = l.candidates()
	}
	var found []Installed
	for _, file := range paths {
		o, err := l.Open(file)
		if err != nil {
			if given {
				return nil, fmt.Errorf("look at %s: %w", file, err)
			}
			continue
		}
		mpi, ok := identifyMPI(o)
		if !ok {
			if given {
				return nil, fmt.Errorf("look at %s: not an MPI library: the name must begin with libmpi, and it must define MPI_Init", file)
			}
			continue
		}
		if slices.ContainsFunc(found, func(i Installed) bool { return i.object == o }) {
			continue
		}
		found = append(found, l.describe(mpi, path.Dir(file)))
	}
	return found, nil
}

// candidates returns files whose names may be an MPI's.
func (l *loader) candidates() []string {
	var files []string
	for _, dir := range slices.Concat(l.Path, linker.LibraryDirs(l.Arch)) {
		for _, name := range l.Sorted(dir) {
			if isMPICore(name) {
				files = append(files, path.Join(dir, name))
			}
		}
	}
	if l.Cache != nil {
		for _, e := range l.Cache.Entries {
			if isMPICore(e.Name) && e.Flags == ldcache.Flags(l.Arch) {
				files = append(files, e.Path)
			}
		}
	}
	return files
}

// isMPICore reports whether a program may load its MPI under that name.
func isMPICore(name string) bool {
	base, version, ok := strings.Cut(name, ".so.")
	return ok && version != "" && !strings.Contains(version, ".") &&
		(base == "libmpi" || base == "libmpich" || base == "libmpi_abi" || strings.HasPrefix(base, "libmpi_cray") || strings.HasPrefix(base, "libmpi_gnu"))
}

// describe works out the settings for a profile.
func (l *loader) describe(mpi Library, dir string) Installed {
	p := l.Load(mpi.object)
	mpi.PMI = l.pmiOf(mpi, p)
	i := Installed{Library: mpi, Replace: []string{dir + "/" + mpi.Soname}}
	for _, m := range p.Missing {
		i.Missing = append(i.Missing, m.Name)
	}
	for _, name := range l.Sorted(dir) {
		beside := isMPIPart(name) || strings.HasPrefix(name, "libmpi_mpifh") || strings.HasPrefix(name, "libmpi_use")
		if !beside || isMPICore(name) || !strings.HasSuffix(name, ".so."+major(mpi.Soname)) {
			continue
		}
		if o := l.FittingIn(dir, name); o != nil {
			i.Replace = append(i.Replace, dir+"/"+name)
		}
	}
	if mpi.Family == OpenMPI {
		i.Prefix = l.prefixOf(mpi.object.Dir())
	}
	i.Closure = l.unknownDirs(p)
	i.Fabric = l.fabricsOf(p)
	return i
}

// major returns what follows .so. in a name.
func major(soname string) string {
	_, after, _ := strings.Cut(soname, ".so.")
	return after
}

// prefixOf finds the directory that Open MPI was configured with: its help texts are
// below it.
func (l *loader) prefixOf(dir string) string {
	for ; dir != "/"; dir = path.Dir(dir) {
		if l.Tree.IsDir(dir + "/share/openmpi") {
			return dir
		}
	}
	return ""
}

// unknownDirs lists the directories of a process's libraries that only the caller's
// search path finds.
func (l *loader) unknownDirs(p *linker.Process) []string {
	var dirs []string
	for _, o := range p.Objects[1:] {
		if l.Search(o.Name(), nil) != o.Object && !slices.Contains(dirs, o.Dir()) && o.Dir() != p.Objects[0].Dir() {
			dirs = append(dirs, o.Dir())
		}
	}
	return dirs
}

// fabricsOf lists the fabrics that have devices on the host, or plugins for a library
// that the process has loaded.
func (l *loader) fabricsOf(p *linker.Process) []string {
	var names []string
	for _, f := range fabrics() {
		if len(f.devices) == 0 {
			continue
		}
		_, lacks := devicesOf(l.Tree, f.devices[0])
		libraries := !slices.ContainsFunc(f.libraries, func(name string) bool { return l.Find(name, p.Objects[0], p).Object == nil })
		if lacks == "" && libraries {
			names = append(names, f.name)
		}
	}
	return names
}

// Profile returns the profile as text for a configuration file.
func (i Installed) Profile(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s speaks %s.\n", i.Library, i.PMI)
	for _, missing := range i.Missing {
		fmt.Fprintf(&b, "# It needs %s, which was not found: add its directory to closure.\n", missing)
	}
	fmt.Fprintf(&b, "[mpi.%s]\n", name)
	names := []string{i.Soname}
	if i.Family == MPICH {
		for _, other := range []string{"libmpi.so.12", "libmpich.so.12"} {
			if major(i.Soname) == "12" && other != i.Soname {
				names = append(names, other)
			}
		}
	}
	writeList(&b, "when", names)
	writeList(&b, "replace", i.Replace)
	if len(i.Closure) > 0 {
		writeList(&b, "closure", i.Closure)
	}
	if i.Prefix != "" {
		fmt.Fprintf(&b, "prefix = %q\n", i.Prefix)
	}
	b.WriteString("abi = \"major\"        # or \"full\", \"strict\"\nmismatch = \"refuse\"  # or \"own\": the image's, with a warning\n")
	if len(i.Fabric) > 0 {
		writeList(&b, "fabric", i.Fabric)
		b.WriteString("# Uncomment to refuse tasks where it is missing, instead of using TCP:\n# ")
		writeList(&b, "require", i.Fabric)
	}
	return b.String()
}

func writeList(b *strings.Builder, key string, items []string) {
	fmt.Fprintf(b, "%s = [", key)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "%q", item)
	}
	b.WriteString("]\n")
}

// ProfileName returns a name for its profile, made of characters that a key can have.
func (i Installed) ProfileName() string {
	switch i.Family {
	case OpenMPI:
		return "openmpi"
	case ABI:
		return "mpi-abi"
	}
	return "mpich"
}
