package gpu

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// A part is a MIG instance of an NVIDIA GPU: programs use a compute instance within a
// GPU instance, and each of the two has a capability, which is a device node to be
// read.
type part struct {
	gi, ci       host.Device
	giID, ciID   int
	uuidOfParent string
}

// name returns the name of the part in the notation of drivers before 470.
func (m part) name() string {
	return fmt.Sprintf("MIG-%s/%d/%d", m.uuidOfParent, m.giID, m.ciID)
}

const (
	migMinors  = "/proc/driver/nvidia-caps/mig-minors"
	migCaps    = "/proc/driver/nvidia/capabilities"
	capDevices = "/dev/nvidia-caps/nvidia-cap"
)

// migMinorNumbers reads the device number of each capability, from lines such as
// "gpu0/gi1/ci0/access 13" and "config 1".
func (p *plan) migMinorNumbers() map[string]string {
	data, err := p.Host.ReadFile(migMinors)
	if err != nil {
		return nil
	}
	minors := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, minor, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			minors[name] = strings.TrimSpace(minor)
		}
	}
	return minors
}

// addParts finds the MIG instances of the cards and leaves out those that the task may
// not use. If a device cgroup denies some instances of a GPU, the GPU itself stays only
// because the others need it.
func (p *plan) addParts(cards []card) {
	minors := map[string]string(nil)
	for i, c := range cards {
		base := fmt.Sprintf("%s/gpu%d/mig", migCaps, c.minor)
		instances := sorted(p.Host.Names(base))
		if len(instances) == 0 {
			continue
		}
		if minors == nil {
			minors = p.migMinorNumbers()
		}
		var denied error
		for _, gi := range instances {
			for _, ci := range sorted(p.Host.Names(base + "/" + gi)) {
				m, err := p.part(c, gi, ci, minors)
				switch {
				case errors.Is(err, unix.EPERM):
					denied = err
				case err == nil:
					cards[i].parts = append(cards[i].parts, m)
				}
			}
		}
		if len(cards[i].parts) == 0 && denied != nil {
			// All of its instances belong to others.
			cards[i].nodes = slices.Clone(c.nodes)
			cards[i].nodes[0].Denied = unix.EPERM
		}
	}
}

func (p *plan) part(c card, gi, ci string, minors map[string]string) (part, error) {
	m := part{}
	var ok, ok2 bool
	if len(c.names) > 0 {
		m.uuidOfParent = c.names[0]
	}
	m.giID, ok = suffixNumber(gi, "gi")
	m.ciID, ok2 = suffixNumber(ci, "ci")
	if !ok || !ok2 {
		return m, host.ErrNotDevice
	}
	for _, capability := range []struct {
		name string
		node *host.Device
	}{
		{fmt.Sprintf("gpu%d/%s/access", c.minor, gi), &m.gi},
		{fmt.Sprintf("gpu%d/%s/%s/access", c.minor, gi, ci), &m.ci},
	} {
		d, err := p.Host.ReadOnlyDevice(capDevices + minors[capability.name])
		if err != nil {
			return m, err
		}
		if d.Denied != nil {
			return m, d.Denied
		}
		*capability.node = d
	}
	return m, nil
}

// narrowNVIDIA reduces the choice to NVIDIA_VISIBLE_DEVICES, which may also name MIG
// instances: 0:1 is the second instance of the first GPU, and an instance may be given
// by UUID. Only the driver's library knows which instance has which UUID.
func (p *plan) narrowNVIDIA(c choice, list []string) (choice, error) {
	var whole []string
	keep := map[string][]part{} // by label of the card
	parts := 0
	for _, entry := range list {
		if gpu, i, ok := partIndex(entry); ok {
			parent, found := find(c.cards, gpu)
			if !found || i < 0 || i >= len(parent.parts) {
				return choice{}, fmt.Errorf("choose GPUs: %s names %s, but no such MIG instance is in the allocation", visibleDevices, text.Printable(entry))
			}
			keep[parent.label] = append(keep[parent.label], parent.parts[i])
			whole = append(whole, gpu)
			parts++
			continue
		}
		if !isPart(entry) {
			whole = append(whole, entry)
			continue
		}
		parent, m, err := p.findPart(c.cards, entry)
		if err != nil {
			return choice{}, err
		}
		whole = append(whole, parent...)
		for _, f := range m {
			keep[f.label] = append(keep[f.label], f.parts...)
		}
		parts++
	}
	narrowed, err := p.narrow(c, visibleDevices, unique(whole), "CUDA_VISIBLE_DEVICES")
	if err != nil || parts == 0 {
		return narrowed, err
	}
	narrowed.cards = slices.Clone(narrowed.cards)
	for i, n := range narrowed.cards {
		if kept := keep[n.label]; len(kept) > 0 {
			narrowed.cards[i].parts = kept
		}
	}
	narrowed.rule = c.rule + ", narrowed by " + visibleDevices
	return narrowed, nil
}

// partIndex reads GPU:INSTANCE, both indices. A PCI address also has colons.
func partIndex(entry string) (gpu string, index int, ok bool) {
	gpu, after, found := strings.Cut(entry, ":")
	_, err := strconv.Atoi(gpu)
	index, err2 := strconv.Atoi(after)
	return gpu, index, found && err == nil && err2 == nil
}

// findPart finds a part by name and returns it with its card. If the name does not say
// which, it returns all cards with parts.
func (p *plan) findPart(cards []card, name string) (indices []string, found []card, err error) {
	for i, c := range cards {
		for _, m := range c.parts {
			if strings.EqualFold(m.name(), name) {
				return []string{strconv.Itoa(i)}, []card{{label: c.label, parts: []part{m}}}, nil
			}
		}
	}
	total := 0
	for i, c := range cards {
		if len(c.parts) > 0 {
			total += len(c.parts)
			indices = append(indices, strconv.Itoa(i))
			found = append(found, card{label: c.label, parts: c.parts})
		}
	}
	if total == 0 {
		return nil, nil, fmt.Errorf("choose GPUs: %s names %s, but no MIG instance is in the allocation", visibleDevices, text.Printable(name))
	}
	if total > 1 {
		p.warn(fmt.Sprintf("%s names %s, but only the driver knows which of %d MIG instances that is: the container gets all of them; CUDA_VISIBLE_DEVICES can select one", visibleDevices, text.Printable(name), total))
	}
	return indices, found, nil
}

func unique(list []string) []string {
	var once []string
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// migControl gives the capabilities to configure or monitor MIG if they are requested
// and the task may use them.
func (p *plan) migControl() {
	e := bundle.Edit{From: "nvidia MIG control", Rule: "NVIDIA_MIG_CONFIG_DEVICES or NVIDIA_MIG_MONITOR_DEVICES"}
	for _, control := range []struct{ variable, name string }{
		{"NVIDIA_MIG_CONFIG_DEVICES", "config"},
		{"NVIDIA_MIG_MONITOR_DEVICES", "monitor"},
	} {
		if p.env[control.variable] == "" {
			continue
		}
		minor := p.migMinorNumbers()[control.name]
		d, err := p.Host.ReadOnlyDevice(capDevices + minor)
		if minor == "" || err != nil || d.Denied != nil {
			p.warn(control.variable + " is set, but the task may not use this capability")
			continue
		}
		e.Devices = append(e.Devices, readOnly(d))
	}
	p.add(e)
}

// imexChannels gives the IMEX channels, by which GPUs share memory between hosts. Under
// Slurm these are the channels that its switch plugin allows the job, otherwise the
// requested ones.
func (p *plan) imexChannels() {
	const dir = "/dev/nvidia-caps-imex-channels"
	asked, _ := p.env.list("NVIDIA_IMEX_CHANNELS")
	all := p.Slurm || slices.Contains(asked, "all")
	if !all && len(asked) == 0 {
		return
	}
	e := bundle.Edit{From: "nvidia IMEX channels", Rule: "NVIDIA_IMEX_CHANNELS, or all that a Slurm task may use"}
	for _, name := range sorted(p.Host.Names(dir)) {
		number, ok := strings.CutPrefix(name, "channel")
		if !ok || !all && !slices.Contains(asked, number) {
			continue
		}
		if d, ok := p.device(dir + "/" + name); ok {
			e.Devices = append(e.Devices, d)
		}
	}
	p.add(e)
}
