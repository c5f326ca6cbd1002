package gpu

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A driver is NVIDIA's user-space driver as the host has it.
type driver struct {
	Version   string            // of the kernel module, which the libraries must match
	Libraries []driverLibrary   // of that version
	Files     map[string]string // programs and configuration files that exist: their paths on the host

	// Changed maps the directories that were searched to the time of their last change
	// in nanoseconds; 0 for a directory that does not exist.
	Changed map[string]int64
}

// A driverLibrary is a library of the driver, with what loading it takes.
type driverLibrary struct {
	Path   string // on the host, without symbolic links
	Name   string // such as libcuda
	Dir    string // subdirectory of the directory with the other libraries
	Soname string // DT_SONAME
	Needs  string // the version of glibc
}

// driverVersion returns the version of the kernel module, read once; empty if it is not
// loaded.
func (p *plan) driverVersion() string {
	if p.version == nil {
		v := p.askVersion()
		p.version = &v
	}
	return *p.version
}

func (p *plan) askVersion() string {
	if v := p.Host.ReadLine("/sys/module/nvidia/version"); v != "" {
		return v
	}
	// NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar ...
	// NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build ...
	for _, field := range strings.Fields(p.Host.ReadLine("/proc/driver/nvidia/version")) {
		if strings.Count(field, ".") >= 1 && strings.Trim(field, "0123456789.") == "" {
			return field
		}
	}
	return ""
}

// driverRoot returns where the driver's files are: the host's root, or the root of the
// driver's container.
func (p *plan) driverRoot() (*host.Tree, func()) {
	if p.Site.DriverRoot != "" {
		if t, err := p.Host.Sub(p.Site.DriverRoot); err == nil {
			return t, t.Close
		}
	}
	return p.Host, func() {}
}

// driver finds the driver's files. The result is kept until the host reboots, the
// driver's version changes, or one of the searched directories changes.
func (p *plan) driver() driver {
	d := driver{Version: p.driverVersion()}
	if d.Version == "" {
		return d
	}
	root, done := p.driverRoot()
	defer done()
	key := p.bootID() + " " + d.Version + " " + root.HostPath("/")
	d.Files, d.Changed = map[string]string{}, map[string]int64{}
	if rows, ok := p.recall("nvidia-driver", key); ok && d.restore(rows) && d.unchanged(root) {
		return d
	}
	d = driver{Version: d.Version, Files: map[string]string{}, Changed: map[string]int64{}}
	p.findLibraries(root, &d)
	p.findFiles(root, &d)
	p.keep("nvidia-driver", key, d.rows())
	return d
}

// rows returns the driver in the form in which it is kept; restore reads that form.
func (d driver) rows() (rows [][]string) {
	for _, l := range d.Libraries {
		rows = append(rows, []string{"library", l.Path, l.Name, l.Dir, l.Soname, l.Needs})
	}
	for _, key := range slices.Sorted(maps.Keys(d.Files)) {
		rows = append(rows, []string{"file", key, d.Files[key]})
	}
	for _, dir := range slices.Sorted(maps.Keys(d.Changed)) {
		rows = append(rows, []string{"changed", dir, strconv.FormatInt(d.Changed[dir], 10)})
	}
	return rows
}

func (d *driver) restore(rows [][]string) bool {
	for _, row := range rows {
		switch {
		case row[0] == "library" && len(row) == 6:
			d.Libraries = append(d.Libraries, driverLibrary{row[1], row[2], row[3], row[4], row[5]})
		case row[0] == "file" && len(row) == 3:
			d.Files[row[1]] = row[2]
		case row[0] == "changed" && len(row) == 3:
			when, err := strconv.ParseInt(row[2], 10, 64)
			if err != nil {
				return false
			}
			d.Changed[row[1]] = when
		default:
			return false
		}
	}
	return true
}

// unchanged reports whether the searched directories are unchanged.
func (d driver) unchanged(root *host.Tree) bool {
	for dir, when := range d.Changed {
		if changed(root, dir) != when {
			return false
		}
	}
	return true
}

// changed returns when a directory's content, or a file, was last changed.
func changed(t *host.Tree, path string) int64 {
	when := t.ModTime(path)
	if when.IsZero() {
		return 0
	}
	return when.UnixNano()
}

func (p *plan) findLibraries(root *host.Tree, d *driver) {
	d.Changed[ldcache.Path] = changed(root, ldcache.Path)
	seen := map[string]bool{}
	for _, dir := range p.driverDirs(root, d.Version) {
		for _, sub := range []string{"", "vdpau"} {
			in := path.Join(dir, sub)
			d.Changed[in] = changed(root, in)
			for _, name := range sorted(root.Names(in)) {
				if base, ok := driverLibraryName(name, d.Version); ok && !seen[name] {
					if l, ok := p.driverLibrary(root, path.Join(in, name), base); ok {
						l.Dir = sub
						seen[name] = true
						d.Libraries = append(d.Libraries, l)
					}
				}
			}
		}
	}
}

// findFiles finds the programs, and the configFiles by where they go.
func (p *plan) findFiles(root *host.Tree, d *driver) {
	find := func(key, name string, dirs ...string) {
		for _, dir := range dirs {
			in := path.Dir(path.Join(dir, name))
			d.Changed[in] = changed(root, in)
		}
		if file, ok := findIn(root, name, dirs...); ok {
			d.Files[key] = root.HostPath(file)
		}
	}
	for _, name := range programsOf(knownCapabilities()) {
		find(name, name, "/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/nvidia/bin", "/opt/bin")
	}
	for _, f := range configFiles(p.Arch) {
		find(path.Join(f.dir, f.name), f.relative(), "/etc", "/usr/local/share", "/usr/share")
	}
}

// driverDirs are the directories with libcuda or libnvidia-ml of that version: other
// directories, and the same ones, may hold libraries of other versions.
func (p *plan) driverDirs(root *host.Tree, version string) []string {
	var candidates []string
	if c, err := linker.ReadCache(root); err == nil {
		loader := linker.New(linker.NewView(root, nil), p.Arch, nil)
		loader.Cache = c
		for _, name := range []string{"libcuda.so.1", "libnvidia-ml.so.1"} {
			for _, file := range loader.Cached(name) {
				candidates = append(candidates, path.Dir(file))
			}
		}
	}
	candidates = append(candidates, linker.LibraryDirs(p.Arch)...)
	if triplet := linker.Triplet(p.Arch); triplet != "" {
		candidates = append(candidates, "/usr/lib/"+triplet+"/nvidia/current")
	}
	candidates = append(candidates, "/usr/lib64/nvidia", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib")
	var dirs []string
	for _, dir := range candidates {
		if !root.Exists(dir+"/libcuda.so."+version) && !root.Exists(dir+"/libnvidia-ml.so."+version) {
			continue
		}
		if resolved, err := root.Resolve(dir); err == nil && !slices.Contains(dirs, resolved) {
			dirs = append(dirs, resolved)
		}
	}
	return dirs
}

// driverLibraryName reports whether a file is a library of that driver version, and
// returns its name without the version. A few libraries have version numbers of their
// own.
func driverLibraryName(file, version string) (string, bool) {
	base, suffix, ok := strings.Cut(file, ".so.")
	if !ok || !strings.HasPrefix(base, "lib") {
		return "", false
	}
	if suffix == version {
		return base, true
	}
	ownVersion := strings.HasPrefix(base, "libnvidia-egl-") || base == "libnvidia-nvvm70"
	return base, ownVersion && strings.Trim(suffix, "0123456789.") == "" && (strings.Contains(suffix, ".") || base == "libnvidia-nvvm70")
}

func (p *plan) driverLibrary(root *host.Tree, file, base string) (driverLibrary, bool) {
	resolved, err := root.Resolve(file)
	if err != nil {
		return driverLibrary{}, false
	}
	lib, err := root.Library(resolved)
	if err != nil || lib.Machine != host.Machine(p.Arch) {
		return driverLibrary{}, false
	}
	if lib.Soname == "" {
		lib.Soname = path.Base(file)
	}
	return driverLibrary{Path: root.HostPath(resolved), Name: base, Soname: lib.Soname, Needs: glibcOf(lib)}, true
}

// libraryHeaders reads the headers of a library, given its path on the host.
func (p *plan) libraryHeaders(source string) (host.Library, bool) {
	inside := source
	if root := p.Host.HostPath("/"); root != "/" {
		inside = strings.TrimPrefix(source, root)
	}
	lib, err := p.Host.Library(inside)
	return lib, err == nil && lib.Machine == host.Machine(p.Arch)
}

// nvidiaDriver gives the parts of the driver that belong to the capabilities.
func (p *plan) nvidiaDriver(d driver, caps capabilitySet, cards []card) error {
	found := false
	classes := libraryClasses()
	for _, l := range d.Libraries {
		if !caps.wants(l.Name, classes) {
			continue
		}
		found = true
		p.libraries = append(p.libraries, library{
			source: l.Path, file: path.Base(l.Path), soname: l.Soname, dir: l.Dir,
			needs: l.Needs, optional: optional(l.Name), from: "NVIDIA driver " + d.Version,
		})
	}
	if !found && len(caps) > 0 {
		p.warn(fmt.Sprintf("NVIDIA's driver %s is loaded, but its libraries are not on this host: looked for libcuda.so.%s", d.Version, d.Version))
	}
	if caps.any("compute") {
		p.forwardCompatibility(d.Version)
	}
	root, done := p.driverRoot()
	defer done()
	p.programs(d, caps)
	p.sockets(root, caps)
	p.kernelParameters()
	p.firmware(root, d.Version)
	p.configuration(d, caps, cards)
	return nil
}
