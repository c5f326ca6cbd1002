// Package gpu works out which GPUs a container gets and what it needs to use
// them, as edits. Everything is read from files, of the node and of the image:
// no library of a vendor is loaded, no program of theirs runs, and no device is
// opened. docs/gpu.md says what is given by which rule.
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

// A Request is what is known of a container that may get GPUs.
type Request struct {
	scene.Scene

	Annotations map[string]string // the container's; those with CDI's prefix ask for devices

	// Slurm says that a task of Slurm's calls: what it was allocated is what it
	// gets. Otherwise an engine calls, and the variables of the container ask.
	Slurm bool

	// CDI are qualified names of devices that the command line or the
	// configuration asks for, such as nvidia.com/gpu=0.
	CDI []string

	// Capabilities are the parts of NVIDIA's driver that the user asks for, which
	// count before what the image says.
	Capabilities []string

	// Terminal is the node's path of the one that the container is started at,
	// such as /dev/pts/0; empty for none.
	Terminal string

	Site Site
}

// Site is what a site decides. The zero value is the default.
type Site struct {
	Vendors      []string // of "nvidia", "amd", "intel"; nil for all
	Capabilities []string // of NVIDIA's driver where the container names none; default compute and utility

	// Isolate gives a task, of the GPUs that its device cgroup allows, only those
	// that its own variables name. CUDA IPC between tasks needs the others, too.
	Isolate bool

	// FileOrder says that Slurm counts GPUs in the order of their device files
	// (gres.conf without AutoDetect), not in that of the PCI bus.
	FileOrder bool

	Features   []string // that are on without being asked for: gdrcopy, gds, mofed, nvswitch
	Firmware   bool     // give the container the GSP's firmware, which the kernel loads by itself
	DriverRoot string   // of a driver in a container of its own, such as /run/nvidia/driver
	MPSDir     string   // where the MPS daemon has its pipes; default /tmp/nvidia-mps

	Devices []string // device nodes that go with any GPU
	Files   []string // files and directories that go with any GPU, read-only

	CDIDirs     []string // of specifications, the last wins; default /etc/cdi and /var/run/cdi
	RepairStale bool     // find libraries that a specification of NVIDIA's names and that are gone
}

// Asked tells at little cost whether a task of Slurm's can be meant to have GPUs:
// only then Edits has anything to find out.
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

// Unknown tells whether Slurm, which Asked finds nothing of, did not know the task yet:
// then Edits goes by the device cgroup.
func Unknown(env []string) bool {
	_, known := bundle.Getenv(env, taskVariable)
	return !known
}

// CDIAnnotation names an annotation that asks for CDI devices; empty for none.
func CDIAnnotation(annotations map[string]string) string {
	for key := range annotations {
		if strings.HasPrefix(key, cdiAnnotations) {
			return "annotation " + text.Printable(key)
		}
	}
	return ""
}

// Edits works out what the container gets. Its error is for the user: it says
// what was asked for and why it cannot be had.
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
		// Who names a vendor's GPUs one by one gets those and no others.
		if !p.enabled(v.name) || slices.ContainsFunc(asked, func(d string) bool { return strings.HasPrefix(d, v.name+".com/gpu=") }) {
			continue
		}
		if err := v.give(p); err != nil {
			return scene.Proposal{}, err
		}
	}
	if _, list, ok := p.env.slurmGPUs(); r.Slurm && ok && p.given == 0 && len(asked) == 0 && !p.declined {
		p.warn("Slurm gave this task GPUs" + inParentheses(list) + ", but no device of a GPU is to be found on this node")
	}
	if err := p.finish(); err != nil {
		return scene.Proposal{}, err
	}
	return p.result(), nil
}

// enabled tells whether the site lets a vendor's GPUs be given.
func (p *plan) enabled(vendor string) bool {
	return p.Site.Vendors == nil || slices.Contains(p.Site.Vendors, vendor)
}

// A plan is a result in the making.
type plan struct {
	Request
	env      environment
	edits    []planned
	warnings []string

	boot    string        // asked once
	version *string       // likewise
	cards   []card        // NVIDIA's of the node, found once
	dev     []fs.DirEntry // of /dev, likewise

	given     int             // GPUs
	declined  bool            // the container does not want those that it could get
	named     map[string]bool // device nodes that CDI specifications gave
	kept      set             // device nodes that edits gave
	unknown   bool            // whether the task has GPUs
	libraries []library
	compat    []library // the image's own, that go before the driver's
}

// A planned edit can still be taken back.
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

// add appends the edit unless it changes nothing.
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

// addForGlibc is add of what is of no use in an image without glibc.
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

// finish adds what belongs to all vendors together.
func (p *plan) finish() error {
	if p.given > 0 {
		if err := p.siteExtras(); err != nil {
			return err
		}
	}
	p.ownDev()
	return p.injectLibraries()
}

// siteExtras gives what the site wants to go with any GPU.
func (p *plan) siteExtras() error {
	e := bundle.Edit{From: "gpu", Rule: "the site's devices and files for any GPU"}
	for _, path := range p.Site.Devices {
		d, err := p.Host.Device(path)
		if err != nil || d.Denied != nil {
			continue // not on every node, not for every job
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

// bind is a read-only mount of the node's file or directory, if it is there.
func (p *plan) bind(path, destination string) (specs.Mount, bool) {
	resolved, err := p.Host.Resolve(path)
	if err != nil {
		return specs.Mount{}, false
	}
	return bindOf(p.Host.HostPath(resolved), destination), true
}

// bindOf is the mount that every file of a driver gets.
func bindOf(source, destination string) specs.Mount {
	return bundle.Bind(source, destination, "bind", "ro", "nosuid", "nodev")
}

// private is the directory in the container that holds what has no place in the image.
func (p *plan) private() string { return bundle.PrivateDir(p.Mounts, "gpu") }

// sharesDev tells whether the container is to have the node's own /dev: then what
// it is given is there already, and what it is not must be taken out.
func (p *plan) sharesDev() bool { return bundle.SharesDev(p.Mounts) }
