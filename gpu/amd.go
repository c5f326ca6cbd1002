package gpu

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// amd gives AMD's GPUs: device nodes and variables. ROCm's libraries come with the
// image, as AMD intends.
func (p *plan) amd() error {
	_, _, slurm := p.env.slurmGPUs()
	list, set := p.env.list("AMD_VISIBLE_DEVICES")
	if p.Slurm && !slurm && !p.early() || !p.Slurm && len(list) == 0 {
		return nil
	}
	if slices.Contains(list, "none") || set && len(list) == 0 || slices.Contains(list, "void") {
		p.declined = true
		return nil
	}
	cards := p.amdCards()
	if len(cards) == 0 {
		if !p.Slurm {
			return fmt.Errorf("give GPUs: AMD_VISIBLE_DEVICES asks for AMD GPUs, but this host has none")
		}
		return nil
	}
	chosen, err := p.amdChoice(cards, list)
	if err != nil || len(chosen.cards) == 0 {
		p.declined = true
		return err
	}
	kfd, err := p.required("/dev/kfd")
	if err != nil {
		return err
	}
	e := bundle.Edit{From: "amd devices", Rule: chosen.rule, Devices: []bundle.Device{kfd}}
	for _, c := range chosen.cards {
		for _, d := range c.nodes {
			e.Devices = append(e.Devices, node(d))
		}
	}
	e.Devices = uniqueDevices(e.Devices)
	e.Links = p.byPath(e.Devices)
	if chosen.rewrite {
		e.Env = p.amdVariables(chosen.visible)
	}
	p.given += len(chosen.cards)
	p.add(e)
	return nil
}

// amdChoice returns the cards that the container gets.
func (p *plan) amdChoice(cards []card, list []string) (choice, error) {
	var chosen choice
	var err error
	if p.Slurm {
		chosen, err = p.ofTask(cards, "ROCR_VISIBLE_DEVICES")
	} else {
		chosen.rule = "AMD_VISIBLE_DEVICES"
		chosen.cards, _, err = p.usable(cards)
		chosen.counted = chosen.cards
	}
	if err != nil || len(chosen.cards) == 0 || len(list) == 0 || slices.Contains(list, "all") {
		return chosen, err
	}
	list, err = ranges(list)
	if err != nil {
		return choice{}, err
	}
	return p.narrow(chosen, "AMD_VISIBLE_DEVICES", list, "ROCR_VISIBLE_DEVICES")
}

// amdVariables keeps the variables that name GPUs consistent. HIP_VISIBLE_DEVICES and
// OpenCL's GPU_DEVICE_ORDINAL count the GPUs that ROCR_VISIBLE_DEVICES leaves, so both
// then name all of them.
func (p *plan) amdVariables(visible string) []string {
	env := []string{"ROCR_VISIBLE_DEVICES=" + visible}
	all := ""
	if visible != "" {
		all = indices(strings.Count(visible, ",") + 1)
	}
	for _, name := range []string{"HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"} {
		if _, ok := p.env[name]; ok {
			env = append(env, name+"="+all)
		}
	}
	return env
}

// ranges expands a range such as 0-3 to its numbers.
func ranges(list []string) ([]string, error) {
	const most = 1024
	var expanded []string
	for _, entry := range list {
		first, last, ok := strings.Cut(entry, "-")
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		switch {
		case !ok || err1 != nil || err2 != nil:
			expanded = append(expanded, entry)
		case from < 0 || from > to || to-from > most:
			return nil, fmt.Errorf("choose GPUs: AMD_VISIBLE_DEVICES: %s is not a range", text.Printable(entry))
		default:
			for i := from; i <= to; i++ {
				expanded = append(expanded, strconv.Itoa(i))
			}
		}
	}
	return expanded, nil
}

// amdCards finds the GPUs, or their partitions, in the order of the kernel's topology,
// which ROCr also uses. A DRM device that is not in the topology, such as a server's
// VGA, cannot compute.
func (p *plan) amdCards() []card {
	const dir = "/sys/class/kfd/kfd/topology/nodes"
	var cards []card
	for _, number := range sorted(p.Host.Names(dir)) {
		properties := p.properties(dir + "/" + number + "/properties")
		minor, err := strconv.Atoi(properties["drm_render_minor"])
		if err != nil || minor <= 0 {
			continue // a CPU
		}
		render := "renderD" + strconv.Itoa(minor)
		d, err := p.Host.Device("/dev/dri/" + render)
		if err != nil {
			continue
		}
		c := card{nodes: []host.Device{d}, label: d.Path}
		if id, err := strconv.ParseUint(properties["unique_id"], 10, 64); err == nil && id != 0 {
			c.names = []string{fmt.Sprintf("GPU-%016x", id), fmt.Sprintf("0x%x", id), fmt.Sprintf("%x", id)}
		}
		// The card node beside the render node may be denied on its own: Slurm's
		// gres.conf may name only the render node.
		for _, n := range p.driNodes("/sys/class/drm/" + render + "/device") {
			if strings.HasPrefix(path.Base(n.Path), "card") && n.Denied == nil {
				c.nodes = append(c.nodes, n)
			}
		}
		cards = append(cards, c)
	}
	if p.Site.FileOrder {
		slices.SortStableFunc(cards, func(a, b card) int { return cmp.Compare(natural(a.label, b.label), 0) })
	}
	return cards
}

// properties reads a file with a name and a value on each line.
func (p *plan) properties(file string) map[string]string {
	data, err := p.Host.ReadFile(file)
	if err != nil {
		return nil
	}
	properties := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			properties[name] = strings.TrimSpace(value)
		}
	}
	return properties
}
