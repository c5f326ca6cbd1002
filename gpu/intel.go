package gpu

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

const intelVendor = "0x8086"

// intel gives Intel's GPUs: device nodes and variables. The Level Zero and OpenCL
// drivers come with the image, as Intel intends. Only Slurm can request them: there is
// no variable for it.
func (p *plan) intel() error {
	if _, _, slurm := p.env.slurmGPUs(); !p.Slurm || !slurm && !p.early() {
		return nil
	}
	if _, named := p.env["ZE_AFFINITY_MASK"]; p.given > 0 && !named {
		return nil // the task's GPUs are another vendor's
	}
	cards := p.intelCards()
	if p.given > 0 {
		// Next to other GPUs, the processor's own graphics is not what was requested.
		cards = slices.DeleteFunc(cards, card.integrated)
	}
	if len(cards) == 0 {
		return nil
	}
	chosen, err := p.ofTask(cards, "ZE_AFFINITY_MASK")
	if err != nil || len(chosen.cards) == 0 {
		p.declined = true
		return err
	}
	e := bundle.Edit{From: "intel devices", Rule: chosen.rule}
	for _, c := range chosen.cards {
		for _, d := range c.nodes {
			e.Devices = append(e.Devices, node(d))
		}
	}
	e.Links = p.byPath(e.Devices)
	if chosen.rewrite {
		e.Env = append(e.Env, "ZE_AFFINITY_MASK="+chosen.visible)
	}
	p.given += len(chosen.cards)
	p.add(e)
	return nil
}

// integrated reports whether an Intel GPU is part of the processor, by its PCI address.
func (c card) integrated() bool { return strings.HasSuffix(c.bus, ":00:02.0") }

// intelCards finds the GPUs by their render nodes, in the order of the PCI bus, which
// Level Zero also uses.
func (p *plan) intelCards() []card {
	var cards []card
	for _, name := range sorted(p.Host.Names("/sys/class/drm")) {
		if !strings.HasPrefix(name, "renderD") {
			continue
		}
		device, err := p.Host.Resolve("/sys/class/drm/" + name + "/device")
		if err != nil || p.Host.ReadLine(device+"/vendor") != intelVendor {
			continue
		}
		d, err := p.Host.Device("/dev/dri/" + name)
		if err != nil {
			continue
		}
		c := card{nodes: []host.Device{d}, label: d.Path, bus: path.Base(device), names: []string{path.Base(device)}}
		for _, n := range p.driNodes(device) {
			if strings.HasPrefix(path.Base(n.Path), "card") && n.Denied == nil {
				c.nodes = append(c.nodes, n)
			}
		}
		cards = append(cards, c)
	}
	if !p.Site.FileOrder {
		slices.SortStableFunc(cards, func(a, b card) int { return cmp.Compare(a.bus, b.bus) })
	}
	return cards
}
