package plan

import (
	"fmt"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/config"
)

// gpus gives the container its GPUs, with what their driver needs. It runs after the profile, since
// it depends on whose /dev the container has.
func (p *composition) gpus() error {
	r, asked, err := p.gpuRequest()
	if err != nil {
		return fmt.Errorf("plan GPUs: %w", err)
	}
	if !asked && (!p.scene.Slurm || !bundle.SharesDev(p.bundle.Spec.Mounts)) {
		return nil
	}
	if !asked && !gpu.Present(p.scene.Host) {
		return nil // without GPUs there are none to hide
	}
	if r.Image, err = p.image(); err != nil {
		return fmt.Errorf("plan GPUs: %w", err)
	}
	proposed, err := gpu.Edits(r)
	if err != nil {
		return fmt.Errorf("plan GPUs: %w", err)
	}
	return p.accept(proposed)
}

// gpuRequest returns the part of gpu's request that needs no file to be opened. asked reports
// whether the container may get anything.
func (p *composition) gpuRequest() (r gpu.Request, asked bool, err error) {
	c, annotations := p.scene.Config, p.bundle.Spec.Annotations
	r = gpu.Request{
		Scene: p.look(),
		Slurm: p.scene.Slurm, CDI: p.cdi(), Terminal: p.scene.Terminal, Site: site(c),
	}
	if c.ByUser("gpu.capabilities") {
		r.Capabilities = c.GPU.Capabilities
	}
	if !p.scene.Slurm {
		// An engine resolves CDI annotations itself. Its containers get GPUs by variables only if
		// the site allows it.
		if c.GPU.Engines {
			r.Annotations = annotations
		} else {
			r.Env = nil
		}
		return r, c.GPU.Engines || len(r.CDI) > 0, nil
	}
	r.Annotations = annotations
	if by := p.devicesBy(); by != "" {
		if err := c.Allow(config.MayDevices, by); err != nil {
			return r, false, err
		}
	}
	asked = len(r.CDI) > 0 || c.ByUser(config.MayDevices) && len(c.GPU.CDI.Devices) > 0 || gpu.Asked(r.Env, annotations)
	if asked {
		r.CDI = append(r.CDI, c.GPU.CDI.Devices...)
	}
	return r, asked || gpu.Unknown(r.Env), nil
}

// cdi returns the names of the CDI devices that are asked for.
func (p *composition) cdi() []string {
	var names []string
	for _, c := range p.mayHave(p.request.Devices) {
		names = append(names, c.Value)
	}
	return names
}

// devicesBy names how the user asks for CDI devices; empty if they do not.
func (p *composition) devicesBy() string {
	if len(p.request.Devices) > 0 {
		return p.request.Devices[0].By
	}
	return gpu.CDIAnnotation(p.bundle.Spec.Annotations)
}

// site converts the configuration to gpu's own terms.
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
