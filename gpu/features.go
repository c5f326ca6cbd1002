package gpu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/text"
)

// A feature is a set of device nodes that a container gets only if it or the site asks
// for them, since they are not only for GPUs.
type feature struct {
	name     string // for Site.Features
	variable string // "enabled" asks for it
	dir      string
	prefixes []string // of names in dir
	files    []string // that go with them
}

func features() []feature {
	return []feature{
		{"gdrcopy", "NVIDIA_GDRCOPY", "/dev", []string{"gdrdrv"}, nil},
		{"gds", "NVIDIA_GDS", "/dev", []string{"nvidia-fs"}, []string{"/run/udev", "/etc/cufile.json"}},
		{"mofed", "NVIDIA_MOFED", "/dev/infiniband", []string{"uverbs", "rdma_cm"}, nil},
		{"nvswitch", "NVIDIA_NVSWITCH", "/dev", []string{"nvidia-nvswitch"}, nil},
	}
}

func (p *plan) features() error {
	all := features()
	for _, name := range p.Site.Features {
		if !slices.ContainsFunc(all, func(f feature) bool { return f.name == name }) {
			return fmt.Errorf("give GPUs: the configuration names the unknown feature %s; known are gdrcopy, gds, mofed and nvswitch", text.Printable(name))
		}
	}
	for _, f := range all {
		bySite := slices.Contains(p.Site.Features, f.name)
		if !bySite && !p.env.enabled(f.variable) {
			continue
		}
		e := bundle.Edit{From: "nvidia " + f.name, Rule: f.variable + "=enabled"}
		if bySite {
			e.Rule = "the site's features"
		}
		for _, name := range sorted(p.Host.Names(f.dir)) {
			if !slices.ContainsFunc(f.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				continue
			}
			if d, ok := p.device(f.dir + "/" + name); ok {
				e.Devices = append(e.Devices, d)
			}
		}
		if len(e.Devices) == 0 {
			if !bySite {
				p.warn(f.variable + " is enabled, but this host has none of its devices, or the task may not use them")
			}
			continue
		}
		for _, file := range f.files {
			if m, ok := p.bind(file, file); ok {
				e.Mounts = append(e.Mounts, m)
			}
		}
		p.add(e)
	}
	return nil
}
