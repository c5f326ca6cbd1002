package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// Variables that NVIDIA's container toolkit reads.
const (
	visibleDevices     = "NVIDIA_VISIBLE_DEVICES"
	driverCapabilities = "NVIDIA_DRIVER_CAPABILITIES"
)

// NVIDIA's GPUs, and all PCI devices, in sysfs.
const (
	nvidiaVendor = "0x10de"
	pciDevices   = "/sys/bus/pci/devices/"
)

// nvidia gives NVIDIA's GPUs and driver.
func (p *plan) nvidia() error {
	chosen, wanted, err := p.nvidiaChoice()
	if err != nil || !wanted {
		return err
	}
	caps, err := p.capabilities()
	if err != nil {
		return err
	}
	driver := p.driver()
	if err := p.requirements(chosen.cards, driver.Version); err != nil {
		return err
	}
	if len(chosen.cards) > 0 {
		if err := p.nvidiaDevices(chosen, caps); err != nil {
			return err
		}
	}
	p.given += len(chosen.cards)
	p.declined = p.declined || len(chosen.cards) == 0
	if driver.Version == "" {
		p.warn("NVIDIA's kernel driver is not loaded on this host: the container gets only its device nodes")
		return nil
	}
	return p.nvidiaDriver(driver, caps, chosen.cards)
}

// nvidiaChoice returns the GPUs that the container gets, and whether it gets anything
// of NVIDIA's at all.
func (p *plan) nvidiaChoice() (chosen choice, wanted bool, err error) {
	list, set := p.env.list(visibleDevices)
	all := set && slices.Contains(list, "all")
	_, _, slurm := p.env.slurmGPUs()
	switch {
	case p.Slurm && !slurm && !p.early():
		return choice{}, false, nil
	case set && (len(list) == 0 || slices.Contains(list, "void")):
		p.declined = true
		return choice{}, false, nil
	case !p.Slurm && !set && !p.legacyImage():
		return choice{}, false, nil
	}
	cards := p.nvidiaCards()
	if p.Slurm {
		if len(cards) == 0 {
			return choice{}, false, nil
		}
		chosen, err = p.ofTask(cards, "CUDA_VISIBLE_DEVICES")
		if err == nil && !slurm && len(chosen.cards) == 0 {
			return choice{}, false, nil
		}
	} else {
		chosen.rule = visibleDevices
		chosen.cards, _, err = p.usable(cards)
		chosen.counted = chosen.cards
		if err == nil && len(cards) == 0 && !slices.Contains(list, "none") {
			err = fmt.Errorf("give GPUs: %s asks for NVIDIA GPUs, but there is no /dev/nvidia0 on this host", visibleDevices)
		}
	}
	if err != nil {
		return choice{}, false, err
	}
	if slices.Contains(list, "none") {
		p.declined = true
		return choice{rule: visibleDevices + "=none: the driver without GPUs"}, true, nil
	}
	if set && !all {
		chosen, err = p.narrowNVIDIA(chosen, list)
	}
	return chosen, true, err
}

// nvidiaCards finds the GPUs of the host, in the order in which Slurm counts them.
func (p *plan) nvidiaCards() []card {
	if p.cards == nil {
		p.cards = p.findNVIDIA()
	}
	return p.cards
}

func (p *plan) findNVIDIA() []card {
	var cards []card
	seen := map[int]bool{}
	for _, info := range p.nvidiaInformation() {
		d, err := p.Host.Device("/dev/nvidia" + strconv.Itoa(info.Minor))
		if err != nil || seen[info.Minor] {
			continue
		}
		seen[info.Minor] = true
		cards = append(cards, card{
			names: []string{info.UUID, info.Bus}, nodes: []host.Device{d}, label: d.Path,
			minor: info.Minor, bus: info.Bus, model: info.Model,
		})
	}
	// The driver does not list these device nodes: it is not loaded, or /proc is
	// hidden.
	for _, entry := range p.devEntries() {
		minor, ok := suffixNumber(entry.Name(), "nvidia")
		if !ok || seen[minor] {
			continue
		}
		if d, err := p.Host.Device("/dev/" + entry.Name()); err == nil {
			cards = append(cards, card{nodes: []host.Device{d}, label: d.Path, minor: minor})
		}
	}
	slices.SortStableFunc(cards, func(a, b card) int {
		if !p.Site.FileOrder && a.bus != "" && b.bus != "" {
			return cmp.Compare(a.bus, b.bus)
		}
		return cmp.Compare(a.minor, b.minor)
	})
	p.addParts(cards)
	return cards
}

// An information is what the driver says about one GPU in
// /proc/driver/nvidia/gpus/*/information.
type information struct {
	Bus, UUID, Model string
	Minor            int
}

// nvidiaInformation reads them. Asking the driver can take milliseconds, so the answers
// are kept until the next boot.
func (p *plan) nvidiaInformation() []information {
	const dir = "/proc/driver/nvidia/gpus"
	buses := sorted(p.Host.Names(dir))
	key := p.bootID() + " " + p.driverVersion() + " " + strings.Join(buses, " ")
	if len(buses) == 0 {
		return nil
	}
	if rows, ok := p.recall("nvidia-gpus", key); ok {
		if all, ok := restoreInformation(rows); ok {
			return all
		}
	}
	var all []information
	for _, bus := range buses {
		data, err := p.Host.ReadFile(dir + "/" + bus + "/information")
		if err != nil {
			continue
		}
		info := information{Bus: bus, Minor: -1}
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch strings.TrimSpace(key) {
			case "GPU UUID":
				info.UUID = value
			case "Model":
				info.Model = value
			case "Bus Location":
				info.Bus = strings.ToLower(value)
			case "Device Minor":
				info.Minor, err = strconv.Atoi(value)
			}
		}
		if info.Minor >= 0 && err == nil {
			all = append(all, info)
		}
	}
	var rows [][]string
	for _, i := range all {
		rows = append(rows, []string{i.Bus, i.UUID, i.Model, strconv.Itoa(i.Minor)})
	}
	p.keep("nvidia-gpus", key, rows)
	return all
}

func restoreInformation(rows [][]string) (all []information, ok bool) {
	for _, row := range rows {
		if len(row) != 4 {
			return nil, false
		}
		minor, err := strconv.Atoi(row[3])
		if err != nil || minor < 0 {
			return nil, false
		}
		all = append(all, information{row[0], row[1], row[2], minor})
	}
	return all, true
}

// nvidiaDevices gives the device nodes of the chosen GPUs, and those that all GPUs
// share.
func (p *plan) nvidiaDevices(chosen choice, caps capabilitySet) error {
	e := bundle.Edit{From: "nvidia devices", Rule: chosen.rule}
	ctl, err := p.required("/dev/nvidiactl")
	if err != nil {
		return err
	}
	e.Devices = append(e.Devices, ctl)
	shared := []string{"/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
	if caps.any("graphics", "display") {
		shared = append(shared, "/dev/nvidia-modeset")
	}
	for _, path := range shared {
		if d, ok := p.device(path); ok {
			e.Devices = append(e.Devices, d)
		}
	}
	for _, c := range chosen.cards {
		for _, d := range c.nodes {
			e.Devices = append(e.Devices, node(d))
		}
		for _, part := range c.parts {
			e.Devices = append(e.Devices, readOnly(part.gi), readOnly(part.ci))
		}
		if caps.any("graphics", "display") && c.bus != "" {
			for _, d := range p.driNodes(pciDevices + c.bus) {
				if d.Denied == nil {
					e.Devices = append(e.Devices, node(d))
				}
			}
		}
	}
	e.Links = p.byPath(e.Devices)
	if chosen.rewrite {
		e.Env = append(e.Env, "CUDA_VISIBLE_DEVICES="+chosen.visible)
	}
	e.Devices = uniqueDevices(e.Devices)
	p.add(e)
	p.migControl()
	p.imexChannels()
	return p.features()
}

func uniqueDevices(devices []bundle.Device) []bundle.Device {
	seen := map[string]bool{}
	return slices.DeleteFunc(devices, func(d bundle.Device) bool {
		twice := seen[d.Path]
		seen[d.Path] = true
		return twice
	})
}
