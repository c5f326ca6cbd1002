package gpu

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/ldcache"
)

// A driver is NVIDIA's user-space driver as it lies on the node.
type driver struct {
	Version   string          // of the kernel's part, which the libraries must match
	Libraries []driverLibrary // of that version
}

// A driverLibrary is a library of the driver's, with what its loading needs.
type driverLibrary struct {
	Path   string              `json:"path"` // on this machine, without links
	Name   string              `json:"name"` // such as libcuda
	Dir    string              `json:"dir,omitempty"`
	Soname string              `json:"soname"`
	Needs  map[string][]string `json:"needs,omitempty"`
}

// driverVersion asks the kernel's part; empty when it is not loaded.
func (p *plan) driverVersion() string {
	if v := p.Node.ReadLine("/sys/module/nvidia/version"); v != "" {
		return v
	}
	// NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar ...
	// NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build ...
	for _, field := range strings.Fields(p.Node.ReadLine("/proc/driver/nvidia/version")) {
		if strings.Count(field, ".") >= 1 && strings.Trim(field, "0123456789.") == "" {
			return field
		}
	}
	return ""
}

// driverRoot is where the driver's files are: the node, or the root of a
// driver's container.
func (p *plan) driverRoot() (*host.Tree, func()) {
	if p.Site.DriverRoot != "" {
		if t, err := p.Node.Sub(p.Site.DriverRoot); err == nil {
			return t, t.Close
		}
	}
	return p.Node, func() {}
}

// driver finds the libraries. What is found is kept until the machine boots, the
// driver's version or a directory changes.
func (p *plan) driver() driver {
	d := driver{Version: p.driverVersion()}
	if d.Version == "" {
		return d
	}
	root, done := p.driverRoot()
	defer done()
	dirs := p.driverDirs(root, d.Version)
	key := p.bootID() + " " + d.Version
	for _, dir := range dirs {
		key += fmt.Sprintf(" %s %d", root.HostPath(dir), root.ModTime(dir).UnixNano())
	}
	if p.recall("nvidia-driver", key, &d.Libraries) {
		return d
	}
	seen := map[string]bool{}
	for _, dir := range dirs {
		for _, sub := range []string{"", "vdpau"} {
			for _, name := range sorted(root.Names(path.Join(dir, sub))) {
				if base, ok := driverLibraryName(name, d.Version); ok && !seen[name] {
					if l, ok := p.driverLibrary(root, path.Join(dir, sub, name), base); ok {
						l.Dir = sub
						seen[name] = true
						d.Libraries = append(d.Libraries, l)
					}
				}
			}
		}
	}
	p.keep("nvidia-driver", key, d.Libraries)
	return d
}

// driverDirs are the directories that hold the version's libcuda or libnvidia-ml:
// there may be libraries of other versions elsewhere, or beside them.
func (p *plan) driverDirs(root *host.Tree, version string) []string {
	var candidates []string
	if c, err := root.LoaderCache(); err == nil {
		for _, name := range []string{"libcuda.so.1", "libnvidia-ml.so.1"} {
			for _, file := range c.Lookup(name, ldcache.Flags(p.Arch)) {
				candidates = append(candidates, path.Dir(file))
			}
		}
	}
	candidates = append(candidates, host.LibraryDirs(p.Arch)...)
	if triplet := host.Triplet(p.Arch); triplet != "" {
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

// driverLibraryName tells whether a file is a library of that driver version,
// and its name without the version. A few have versions of their own.
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
	return driverLibrary{Path: root.HostPath(resolved), Name: base, Soname: lib.Soname, Needs: lib.Needs}, true
}

// libraryHeaders reads a library by its path on this machine.
func (p *plan) libraryHeaders(source string) (host.Library, bool) {
	inside := source
	if root := p.Node.HostPath("/"); root != "/" {
		inside = strings.TrimPrefix(source, root)
	}
	lib, err := p.Node.Library(inside)
	return lib, err == nil && lib.Machine == host.Machine(p.Arch)
}

// nvidiaDriver gives what of the driver the capabilities ask for.
func (p *plan) nvidiaDriver(d driver, caps capabilitySet, cards []card) error {
	found := false
	for _, l := range d.Libraries {
		if !caps.wants(l.Name) {
			continue
		}
		found = true
		p.libraries = append(p.libraries, library{
			source: l.Path, file: path.Base(l.Path), soname: l.Soname, dir: l.Dir,
			needs: l.Needs, optional: optional(l.Name), from: "NVIDIA driver " + d.Version,
		})
	}
	if !found && len(caps) > 0 {
		p.warn(fmt.Sprintf("NVIDIA's driver %s is loaded, but its libraries are not on this node: looked for libcuda.so.%s", d.Version, d.Version))
	}
	if caps.any("compute") {
		p.forwardCompatibility(d.Version)
	}
	root, done := p.driverRoot()
	defer done()
	p.programs(root, caps)
	p.sockets(root, caps)
	p.kernelParameters()
	p.firmware(root, d.Version)
	p.configuration(root, caps, cards)
	return nil
}
