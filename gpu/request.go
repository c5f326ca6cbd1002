// Package gpu works out which GPUs a container gets and what it needs to use them, as
// edits. Everything is read from files of the host and of the image: no vendor library
// is loaded, no vendor program runs, and no device is opened. docs/gpu.md documents the
// rules.
package gpu

import (
	"cmp"
	"io/fs"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/scene"
	"github.com/ocishim/ocishim/internal/text"
)

// A Request describes a container that may get GPUs.
type Request struct {
	scene.Scene

	Annotations map[string]string // the container's; those with the prefix of CDI request devices

	// Slurm means that the container is a Slurm task and gets its allocation. Otherwise
	// an engine is the caller, and the container's variables decide.
	Slurm bool

	// CDI are the qualified names of devices that the command line or the configuration
	// requests, such as nvidia.com/gpu=0.
	CDI []string

	// Capabilities are the parts of NVIDIA's driver that the user requests. They
	// override the image's.
	Capabilities []string

	// Terminal is the host's path of the terminal that the container is started at,
	// such as /dev/pts/0; empty for none.
	Terminal string

	Site Site
}

// Site holds the site's settings. The zero value is the default.
type Site struct {
	Vendors      []string // of "nvidia", "amd", "intel"; nil for all
	Capabilities []string // of NVIDIA's driver if the container names none; default compute and utility

	// Isolate gives a task only those GPUs of its device cgroup that its own variables
	// name. CUDA IPC between tasks also needs the others.
	Isolate bool

	// FileOrder means that Slurm counts GPUs in the order of their device files
	// (gres.conf without AutoDetect), not in the order of the PCI bus.
	FileOrder bool

	Features   []string // enabled without a request: gdrcopy, gds, mofed, nvswitch
	Firmware   bool     // give the container the GSP's firmware
	DriverRoot string   // root of the container that holds the driver, such as /run/nvidia/driver
	MPSDir     string   // directory of the MPS daemon's pipes; default /tmp/nvidia-mps

	Devices []string // device nodes that every container with a GPU gets
	Files   []string // files and directories that every container with a GPU gets, read-only

	CDIDirs     []string // directories of specifications, later ones override; default /etc/cdi and /var/run/cdi
	RepairStale bool     // replace missing libraries that a specification of NVIDIA's names
}

// Asked reports cheaply whether a Slurm task may have GPUs. If not, Edits has nothing
// to do.
func Asked(env []string, annotations map[string]string) bool {
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
			"GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK", "NVIDIA_VISIBLE_DEVICES", "AMD_VISIBLE_DEVICES",
			"SLURM_SHARDS_ON_NODE", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "SLURM_GPUS_ON_NODE":
			if value != "" {
				return true
			}
		}
	}
	return CDIAnnotation(annotations) != ""
}

// Unknown reports whether Slurm did not know the task yet, so that Asked finds nothing:
// then Edits relies on the device cgroup.
func Unknown(env []string) bool {
	_, known := bundle.Getenv(env, taskVariable)
	return !known
}

// CDIAnnotation returns an annotation that requests CDI devices; empty for none.
func CDIAnnotation(annotations map[string]string) string {
	for key := range annotations {
		if strings.HasPrefix(key, cdiAnnotations) {
			return "annotation " + text.Printable(key)
		}
	}
	return ""
}

// Edits works out what the container gets. Its error is for the user: it says what was
// requested and why it is not available.
func Edits(r Request) (scene.Proposal, error) {
	p := &plan{Request: r, env: newEnvironment(r.Env), named: map[string]bool{}, kept: set{}}
	vendors := []struct {
		name string
		give func(*plan) error
	}{
		{"nvidia", (*plan).nvidia},
		{"amd", (*plan).amd},
		{"intel", (*plan).intel},
	}
	asked, err := p.cdiNames()
	if err != nil {
		return scene.Proposal{}, err
	}
	if err := p.cdi(asked); err != nil {
		return scene.Proposal{}, err
	}
	for _, v := range vendors {
		// A request for individual GPUs of a vendor gets only those.
		if !p.enabled(v.name) || slices.ContainsFunc(asked, func(d string) bool { return strings.HasPrefix(d, v.name+".com/gpu=") }) {
			continue
		}
		if err := v.give(p); err != nil {
			return scene.Proposal{}, err
		}
	}
	if _, list, ok := p.env.slurmGPUs(); r.Slurm && ok && p.given == 0 && len(asked) == 0 && !p.declined {
		p.warn("Slurm gave this task GPUs" + inParentheses(list) + ", but this host has no device node of a GPU")
	}
	if err := p.finish(); err != nil {
		return scene.Proposal{}, err
	}
	return p.result(), nil
}

// enabled reports whether the site enables a vendor's GPUs.
func (p *plan) enabled(vendor string) bool {
	return p.Site.Vendors == nil || slices.Contains(p.Site.Vendors, vendor)
}

// A plan is a Result being built.
type plan struct {
	Request
	env      environment
	edits    []planned
	warnings []string

	boot    string        // read once
	version *string       // read once
	cards   []card        // NVIDIA's GPUs of the host, found once
	dev     []fs.DirEntry // entries of /dev, read once

	given     int             // number of GPUs
	declined  bool            // the container asks for no GPUs
	named     map[string]bool // device nodes from CDI specifications
	kept      set             // device nodes from edits
	unknown   bool            // it is not known whether the task has GPUs
	libraries []library
	compat    []library // libraries of the image that come before the driver's
}

// A planned edit can still be removed.
type planned struct {
	bundle.Edit
	forGlibc bool
}

func (p *plan) result() scene.Proposal {
	r := scene.Proposal{Warnings: p.warnings}
	for _, e := range p.edits {
		r.Edits = append(r.Edits, e.Edit)
	}
	return r
}

// add appends the edit unless it is empty.
func (p *plan) add(e bundle.Edit) {
	for _, d := range e.Devices {
		p.kept[cmp.Or(d.HostPath, d.Path)] = true
	}
	if p.sharesDev() {
		e.Devices = slices.DeleteFunc(e.Devices, func(d bundle.Device) bool { return d.HostPath == "" || d.HostPath == d.Path })
		e.Links = slices.DeleteFunc(e.Links, func(l bundle.Link) bool { return strings.HasPrefix(l.Path, "/dev/") })
	}
	if len(e.Env)+len(e.EnvDefault)+len(e.EnvPrepend)+len(e.Devices)+len(e.Mounts)+
		len(e.Links)+len(e.Files)+len(e.AdditionalGids) > 0 || e.Hooks != nil {
		p.edits = append(p.edits, planned{Edit: e})
	}
}

// addForGlibc is add for edits that are useless in an image without glibc.
func (p *plan) addForGlibc(e bundle.Edit) {
	before := len(p.edits)
	p.add(e)
	for i := range p.edits[before:] {
		p.edits[before+i].forGlibc = true
	}
}

func (p *plan) warn(text string) {
	if !slices.Contains(p.warnings, text) {
		p.warnings = append(p.warnings, text)
	}
}

// finish adds the edits that all vendors share.
func (p *plan) finish() error {
	if p.given > 0 {
		if err := p.siteExtras(); err != nil {
			return err
		}
	}
	p.ownDev()
	return p.injectLibraries()
}

// siteExtras gives the site's devices and files for any GPU.
func (p *plan) siteExtras() error {
	e := bundle.Edit{From: "gpu", Rule: "the site's devices and files for any GPU"}
	for _, path := range p.Site.Devices {
		d, err := p.Host.Device(path)
		if err != nil || d.Denied != nil {
			continue // not on every host, not for every job
		}
		e.Devices = append(e.Devices, node(d))
	}
	for _, path := range p.Site.Files {
		if m, ok := p.bind(path, path); ok {
			e.Mounts = append(e.Mounts, m)
		}
	}
	p.add(e)
	return nil
}

// bind returns a read-only mount of a file or directory of the host, if it exists.
func (p *plan) bind(path, destination string) (specs.Mount, bool) {
	resolved, err := p.Host.Resolve(path)
	if err != nil {
		return specs.Mount{}, false
	}
	return bindOf(p.Host.HostPath(resolved), destination), true
}

// bindOf returns the mount for a file of a driver.
func bindOf(source, destination string) specs.Mount {
	return bundle.Bind(source, destination, "bind", "ro", "nosuid", "nodev")
}

// private is the directory in the container for files that have no place in the image.
func (p *plan) private() string { return bundle.PrivateDir(p.Mounts, "gpu") }

// sharesDev reports whether the container has the host's own /dev: then its devices are
// already there, and the others must be removed.
func (p *plan) sharesDev() bool { return bundle.SharesDev(p.Mounts) }
