package mpi

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// A fabric is what MPI needs of the host for a network, or for a way through shared
// memory: devices, libraries, and plugins of these libraries.
type fabric struct {
	name      string
	devices   []string // patterns; if the fabric is required, a device of the first must exist
	libraries []string // all must exist if the fabric is required
	plugins   string   // a directory beside the first library
	variable  string   // names the directory, or the plugins
}

func fabrics() []fabric {
	return []fabric{
		{"verbs", []string{"/dev/infiniband/uverbs*", "/dev/infiniband/rdma_cm"}, []string{"libibverbs.so.1", "librdmacm.so.1"}, "libibverbs", "IBV_DRIVERS"},
		{"efa", []string{"/dev/infiniband/uverbs*"}, []string{"libibverbs.so.1", "libefa.so.1", "libfabric.so.1"}, "libibverbs", "IBV_DRIVERS"},
		{"cxi", []string{"/dev/cxi*"}, []string{"libfabric.so.1", "libcxi.so.1"}, "libfabric", "FI_PROVIDER_PATH"},
		{"libfabric", nil, []string{"libfabric.so.1"}, "libfabric", "FI_PROVIDER_PATH"},
		{"ucx", nil, []string{"libucp.so.0", "libuct.so.0", "libucs.so.0", "libucm.so.0"}, "ucx", "UCX_MODULE_DIR"},
		{"psm2", []string{"/dev/hfi1_*"}, []string{"libpsm2.so.2"}, "", ""},
		{"xpmem", []string{"/dev/xpmem"}, []string{"libxpmem.so.0"}, "", ""},
		{"knem", []string{"/dev/knem"}, nil, "", ""},
		{"gdrcopy", []string{"/dev/gdrdrv"}, []string{"libgdrapi.so.2"}, "", ""},
	}
}

// FabricNames returns the names that a profile may use.
func FabricNames() []string {
	var names []string
	for _, f := range fabrics() {
		names = append(names, f.name)
	}
	return names
}

// isFabricLibrary reports whether the library must be the host's if the site's MPI is
// used: it talks to the host's drivers, or to Slurm.
func isFabricLibrary(name string) bool {
	base, _, _ := strings.Cut(name, ".so")
	return slices.Contains([]string{
		"libfabric", "libucp", "libuct", "libucs", "libucm", "libucs_signal", "libibverbs", "librdmacm", "libefa", "libmlx4", "libmlx5", "libmana",
		"libcxi", "libcxiutils", "libpsm2", "libpsm_infinipath", "libxpmem", "libgdrapi", "libpmix", "libpmi", "libpmi2", "libpals",
		"libucc", "libsharp", "libhcoll", "libprrte", "libportals", "libslurm", "libslurmfull", "libmunge",
	}, base)
}

// ErrNoFabric means that a required fabric is missing.
var ErrNoFabric = errors.New("the fabric that the site requires is missing")

// provision is what fabrics add to the container.
type provision struct {
	libraries []*linker.Object
	plugins   []*linker.Object
	mounts    []specs.Mount
	devices   []bundle.Device
	set       []string
	prepend   []string
}

// findFabric looks for what the profile's fabrics need. What is missing is left out,
// unless it is required.
func (r *replacement) findFabric() error {
	for _, f := range fabrics() {
		required := slices.Contains(r.profile.Require, f.name)
		if !required && !slices.Contains(r.profile.Fabric, f.name) {
			continue
		}
		why := r.provide(f)
		if why != "" && required {
			return fmt.Errorf("mpi.%s.require %q: %w: %s; without it MPI would use TCP, or fail later", r.profile.Name, f.name, ErrNoFabric, why)
		}
	}
	for _, pattern := range r.profile.Devices {
		r.device(pattern)
	}
	r.providePMIx()
	for _, dir := range r.pluginDirs() {
		r.addPlugins(dir)
	}
	r.provideLoaded()
	return nil
}

// provideLoaded makes fabric libraries that the MPI is linked with find their plugins
// even if the profile does not name the fabric, and adds what these plugins need.
func (r *replacement) provideLoaded() {
	for before := -1; before < len(r.fabric.plugins); {
		before = len(r.fabric.plugins)
		all := r.node.Load(slices.Concat(r.used, r.fabric.libraries, r.fabric.plugins)...)
		r.give(all)
		for _, f := range fabrics() {
			if len(f.libraries) > 0 && all.Names[f.libraries[0]] != nil {
				r.providePlugins(f, all.Names[f.libraries[0]].Object)
			}
		}
	}
}

// provide adds what exists of the fabric, and returns what is missing.
func (r *replacement) provide(f fabric) (lacks string) {
	for i, pattern := range f.devices {
		denied := r.device(pattern)
		if i == 0 && slices.Contains(r.profile.Require, f.name) {
			lacks, r.needs = denied, append(r.needs, pattern)
		}
	}
	var first *linker.Object
	for _, name := range f.libraries {
		o := r.node.Search(name, r.node.Path)
		if o == nil {
			if lacks == "" {
				lacks = "the host has no " + name
			}
			continue
		}
		if first == nil {
			first = o
		}
		r.fabric.libraries = append(r.fabric.libraries, o)
	}
	if first != nil {
		r.providePlugins(f, first)
	}
	return lacks
}

// device adds the device nodes of a pattern, or returns why none can be used.
func (r *replacement) device(pattern string) (lacks string) {
	found, lacks := devicesOf(r.Host, pattern)
	for _, d := range found {
		if !bundle.HasDevice(r.Mounts, d.Path) {
			r.fabric.devices = append(r.fabric.devices, deviceOf(d))
		}
	}
	return lacks
}

// devicesOf lists the device nodes of a pattern that this process may use, or returns
// why it found none.
func devicesOf(node *host.Tree, pattern string) (found []host.Device, lacks string) {
	lacks = "the host has no " + pattern
	for _, name := range node.Names(path.Dir(pattern)) {
		if ok, err := path.Match(path.Base(pattern), name); err != nil || !ok {
			continue
		}
		d, err := node.Device(path.Join(path.Dir(pattern), name))
		switch {
		case err != nil:
			continue
		case d.Denied != nil:
			lacks = fmt.Sprintf("%s cannot be used: %v", d.Path, d.Denied)
			continue
		}
		found = append(found, d)
	}
	if len(found) > 0 {
		lacks = ""
	}
	return found, lacks
}

func deviceOf(d host.Device) bundle.Device {
	mode := os.FileMode(d.Perm)
	return bundle.Device{
		LinuxDevice: specs.LinuxDevice{
			Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, FileMode: &mode, UID: &d.UID, GID: &d.GID,
		},
		Access: "rw",
	}
}

// providePlugins sets the variable by which a library finds its plugins, which it would
// look for at the host's path.
func (r *replacement) providePlugins(f fabric, library *linker.Object) {
	at := r.dir + "/" + f.plugins
	if f.plugins == "" || slices.ContainsFunc(r.fabric.mounts, func(m specs.Mount) bool { return m.Destination == at }) {
		return
	}
	dir := library.Dir() + "/" + f.plugins
	found := r.addPlugins(dir)
	if len(found) == 0 {
		return
	}
	source, below := dir, at
	if r.leadsOut(dir, found) {
		source, below = library.Dir(), at+"/"+f.plugins
	}
	r.fabric.mounts = append(r.fabric.mounts, BindOf(r.source(source), at))
	switch f.variable {
	case "IBV_DRIVERS":
		r.fabric.prepend = append(r.fabric.prepend, f.variable+"="+strings.Join(r.drivers(dir, below), ":"))
	case "UCX_MODULE_DIR": // one directory, not a list
		r.fabric.set = append(r.fabric.set, f.variable+"="+below)
	default:
		r.fabric.prepend = append(r.fabric.prepend, f.variable+"="+below)
	}
}

// leadsOut reports whether some plugins are links out of their directory, like most
// verbs drivers: they lead to the libraries beside it.
func (r *replacement) leadsOut(dir string, found []*linker.Object) bool {
	in := r.node.Dir(dir)
	return in != nil && slices.ContainsFunc(found, func(o *linker.Object) bool { return o.Dir() != in.At })
}

// drivers returns the verbs drivers in the form of IBV_DRIVERS: libmlx5 for
// libmlx5-rdmav34.so.
func (r *replacement) drivers(dir, at string) (drivers []string) {
	names := r.Host.Names(dir)
	slices.Sort(names)
	for _, name := range names {
		if driver, _, ok := strings.Cut(name, "-rdmav"); ok && r.node.Fitting(dir+"/"+name) != nil {
			drivers = append(drivers, at+"/"+driver)
		}
	}
	return drivers
}

// providePMIx makes the host's libpmix find its own plugins: it looks for them below
// the prefix that it was built for, where the image may have those of another version,
// which do not fit.
func (r *replacement) providePMIx() {
	for name, o := range r.needed.Names {
		if !strings.HasPrefix(name, "libpmix.so") || !r.Host.IsDir(o.Dir()+"/pmix") {
			continue
		}
		prefix := path.Dir(o.Dir())
		if r.Host.HostPath(prefix) == r.source(r.profile.Prefix) {
			r.fabric.set = append(r.fabric.set, "PMIX_INSTALL_PREFIX="+r.dir+"/prefix")
			continue
		}
		r.fabric.mounts = append(r.fabric.mounts, BindOf(r.source(prefix), r.dir+"/pmix"))
		r.fabric.set = append(r.fabric.set, "PMIX_INSTALL_PREFIX="+r.dir+"/pmix")
		return
	}
}

// addPlugins adds the libraries of a directory.
func (r *replacement) addPlugins(dir string) (found []*linker.Object) {
	for _, name := range r.node.Plugins(dir) {
		if o := r.node.FittingIn(dir, name); o != nil && !slices.Contains(found, o) {
			found = append(found, o)
		}
	}
	r.fabric.plugins = append(r.fabric.plugins, found...)
	return found
}
