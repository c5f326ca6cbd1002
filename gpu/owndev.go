package gpu

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// Present reports cheaply whether the host can have GPUs: only then must a container
// that asks for none be kept from some.
func Present(node *host.Tree) bool {
	return node.Exists("/dev/nvidiactl") || node.Exists("/dev/kfd") || node.IsDir("/dev/dri")
}

// ownDev replaces the host's /dev of a container by one without the device nodes of
// GPUs that it was not given. Everything else is bound entry by entry as far as the
// caller may read it, directories as a whole: a device node cannot be hidden below a
// mount of /dev. If the container gets every GPU, it keeps the host's /dev.
func (p *plan) ownDev() {
	if !p.sharesDev() || p.given == 0 && (!p.Slurm || p.unknown) {
		return
	}
	hidden := p.otherGPUs()
	if len(hidden) == 0 {
		return
	}
	e := bundle.Edit{
		From: "gpu /dev", Rule: fmt.Sprintf("without %d entries of GPUs that are not the task's", len(hidden)),
		DropMounts: []string{"/dev"}, Directories: []string{"/dev"},
	}
	p.fillDev(&e, "/dev", p.devEntries(), hidden)
	for _, m := range p.Mounts {
		if strings.HasPrefix(path.Clean("/"+m.Destination), "/dev/") {
			e.Mounts = append(e.Mounts, m) // a mount of the site's, dropped with /dev
		}
	}
	p.edits = slices.Insert(p.edits, 0, planned{Edit: e})
}

// fillDev adds the entries of a directory of the host to the edit, except hidden ones.
func (p *plan) fillDev(e *bundle.Edit, dir string, entries []fs.DirEntry, hidden set) {
	for _, entry := range entries {
		at := dir + "/" + entry.Name()
		switch {
		case hidden[at] || p.terminals(e, at, entry):
		case entry.Type() == fs.ModeSymlink:
			if target, err := p.Host.Readlink(at); err == nil && target != "" {
				e.Links = append(e.Links, bundle.Link{Path: at, Target: target})
			}
		case entry.IsDir() && hidden.below(at):
			p.fillDev(e, at, inNameOrder(p.Host.Entries(at)), hidden)
		case entry.IsDir():
			e.Mounts = append(e.Mounts, p.asIs(at, "rbind"))
		case p.Host.Readable(at):
			e.Mounts = append(e.Mounts, p.asIs(at, "bind"))
		}
	}
}

// terminals adds the entries by which terminals are opened and found. The kernel looks
// for them in "pts" beside the device node "ptmx", and not beside a mount of it, so
// ptmx is a link, as in other containers. Most hosts let nobody use the ptmx in their
// /dev/pts: then the container has terminals of its own, and the one that it is started
// at is its console.
func (p *plan) terminals(e *bundle.Edit, at string, entry fs.DirEntry) bool {
	own := func() bool { return p.Host.Exists("/dev/ptmx") && !p.Host.Readable("/dev/pts/ptmx") }
	switch {
	case at == "/dev/ptmx" && entry.Type() != fs.ModeSymlink:
		e.Links = append(e.Links, bundle.Link{Path: at, Target: "pts/ptmx"})
	case at == "/dev/pts" && own():
		e.Mounts = append(e.Mounts, bundle.Devpts())
	case at == "/dev/console" && p.Terminal != "" && own():
		m := p.asIs(p.Terminal, "bind")
		m.Destination = at
		e.Mounts = append(e.Mounts, m)
	case at == "/dev/console":
		e.Mounts = append(e.Mounts, p.asIs(at, "bind"))
	default:
		return false
	}
	return true
}

// devEntries returns the entries of /dev, in the order of their names.
func (p *plan) devEntries() []fs.DirEntry {
	if p.dev == nil {
		p.dev = inNameOrder(p.Host.Entries("/dev"))
	}
	return p.dev
}

func inNameOrder(entries []fs.DirEntry) []fs.DirEntry {
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

// A set is a set of paths.
type set map[string]bool

// below reports whether one of them is in the directory.
func (s set) below(dir string) bool {
	for at := range s {
		if strings.HasPrefix(at, dir+"/") {
			return true
		}
	}
	return false
}

func (s set) add(nodes ...host.Device) {
	for _, d := range nodes {
		s[d.Path] = true
	}
}

// otherGPUs returns the device nodes of the host's GPUs that no edit gives, for the
// vendors that the site enables. If no GPU of a vendor is given, it includes the device
// nodes that the vendor's GPUs share.
func (p *plan) otherGPUs() set {
	others := set{}
	if p.enabled("nvidia") {
		p.otherNVIDIA(others)
	}
	if p.enabled("amd") {
		p.otherAMD(others)
	}
	if p.enabled("intel") {
		p.otherIntel(others)
	}
	if others.below("/dev/dri") {
		for _, name := range p.Host.Names(driLinks) {
			target, err := p.Host.Readlink(driLinks + "/" + name)
			if err == nil && others[path.Join(driLinks, target)] {
				others[driLinks+"/"+name] = true
			}
		}
	}
	return others
}

func (p *plan) otherNVIDIA(others set) {
	gpus, given := false, false
	for _, entry := range p.devEntries() {
		if _, ok := suffixNumber(entry.Name(), "nvidia"); ok {
			gpus, given = true, given || p.kept["/dev/"+entry.Name()]
		}
	}
	switch {
	case !gpus:
	case !given:
		for _, entry := range p.devEntries() {
			if strings.HasPrefix(entry.Name(), "nvidia") {
				others["/dev/"+entry.Name()] = true
			}
		}
		for _, name := range p.Host.Names("/dev/dri") {
			if p.Host.ReadLine("/sys/class/drm/"+name+"/device/vendor") == nvidiaVendor {
				others["/dev/dri/"+name] = true
			}
		}
	default:
		for _, c := range p.nvidiaCards() {
			if !p.kept[c.label] {
				others.add(c.nodes...)
				others.add(p.driNodes(pciDevices + c.bus)...)
			}
		}
		p.otherParts(others)
	}
}

// otherParts adds the capabilities of MIG instances that are not given. Even without
// any instance there are two device nodes, to configure and to monitor MIG.
func (p *plan) otherParts(others set) {
	const dir, prefix = "/dev/nvidia-caps", "nvidia-cap"
	names := p.Host.Names(dir)
	if len(names) <= 2 {
		return
	}
	instances := set{}
	for name, minor := range p.migMinorNumbers() {
		if strings.HasPrefix(name, "gpu") {
			instances[prefix+minor] = true
		}
	}
	for _, name := range names {
		if at := dir + "/" + name; instances[name] && !p.kept[at] {
			others[at] = true
		}
	}
}

func (p *plan) otherAMD(others set) {
	given, cards := false, p.amdCards()
	for _, c := range cards {
		if p.kept[c.label] {
			given = true
			continue
		}
		others.add(c.nodes...)
	}
	if len(cards) > 0 && !given {
		others["/dev/kfd"] = true
	}
}

// otherIntel leaves a processor's own graphics visible next to other GPUs: nobody
// allocates it.
func (p *plan) otherIntel(others set) {
	cards := p.intelCards()
	alone := len(cards) == 1 && p.given == 0 && len(others) == 0
	for _, c := range cards {
		if !p.kept[c.label] && (alone || !c.integrated()) {
			others.add(c.nodes...)
		}
	}
}
