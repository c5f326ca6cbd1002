package plan

import (
	"fmt"
	goruntime "runtime"
	"slices"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
)

// A GPURequest is what the GPUs of a container depend on beside its bundle.
type GPURequest struct {
	Config *config.Config // with what the user decides otherwise
	Root   string         // of the node

	// Slurm says that a Slurm task calls: what it was allocated is what it
	// gets. Else an engine calls.
	Slurm bool

	// Devices are the CDI names that the command line asks for.
	Devices []string

	// Terminal is the node's path of the one on our stdin; empty for none.
	Terminal string

	// CacheDir keeps what is found out about the node; empty for none.
	CacheDir string
}

// GPUs lists the edits that give a container its GPUs, with what their driver
// needs: after those of Edits have been applied, since it depends on whose /dev
// the container has. The warnings are for the user, a line each.
func GPUs(b *bundle.Bundle, r GPURequest) (edits []bundle.Edit, warnings []string, err error) {
	request, asked, err := r.request(b)
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	if !asked && (!r.Slurm || !bundle.SharesDev(b.Spec.Mounts)) {
		return nil, nil, nil
	}
	node, err := host.Open(r.Root, host.Kernel{})
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	defer node.Close()
	if !asked && !gpu.Present(node) {
		return nil, nil, nil // there are none to be kept from
	}
	image, err := host.Open(b.Rootfs, host.Kernel{})
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	defer image.Close()
	request.Node, request.Image = node, image
	result, err := gpu.Edits(request)
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	return result.Edits, result.Warnings, nil
}

// request is all of gpu's but what has to be opened; asked tells whether the
// container can be meant to get anything.
func (r GPURequest) request(b *bundle.Bundle) (request gpu.Request, asked bool, err error) {
	c := r.Config
	request = gpu.Request{
		Arch: goruntime.GOARCH, Env: b.Spec.Process.Env, Mounts: b.Spec.Mounts,
		Slurm: r.Slurm, CDI: slices.Clone(r.Devices), CacheDir: r.CacheDir, Terminal: r.Terminal, Site: site(c),
	}
	if c.ByUser("gpu.capabilities") {
		request.Capabilities = c.GPU.Capabilities
	}
	if !r.Slurm {
		// An engine resolves CDI's annotations by itself, and its containers
		// are as the engine says, unless the site wants them to ask.
		if c.GPU.Engines {
			request.Annotations = b.Spec.Annotations
		} else {
			request.Env = nil
		}
		return request, c.GPU.Engines || len(request.CDI) > 0, nil
	}
	request.Annotations = b.Spec.Annotations
	byUser := gpu.CDIAnnotation(b.Spec.Annotations)
	if len(r.Devices) > 0 {
		byUser = "--device"
	}
	if byUser != "" {
		if err := c.Allow(config.MayDevices, byUser); err != nil {
			return request, false, err
		}
	}
	asked = len(request.CDI) > 0 || c.ByUser(config.MayDevices) && len(c.GPU.CDI.Devices) > 0 || gpu.Asked(request.Env, request.Annotations)
	if asked {
		request.CDI = append(request.CDI, c.GPU.CDI.Devices...)
	}
	return request, asked || gpu.Unknown(request.Env), nil
}

// site is what the configuration decides, as gpu has it.
func site(c *config.Config) gpu.Site {
	g := c.GPU
	s := gpu.Site{
		Vendors: g.Vendors, Capabilities: g.Capabilities, Isolate: g.Isolate, FileOrder: g.Order == config.OrderFile,
		Features: g.Features, Firmware: g.Firmware, Devices: g.Devices, Files: g.Files,
		CDIDirs: g.CDI.Dirs, RepairStale: g.CDI.Repair,
	}
	if g.Driver != "/" {
		s.DriverRoot = g.Driver
	}
	if g.MPS != config.Default().GPU.MPS {
		s.MPSDir = g.MPS
	}
	return s
}
