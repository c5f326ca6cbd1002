package gpu

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// cdiAnnotations is the prefix of the annotations by which engines request devices
// (Container Device Interface).
const cdiAnnotations = "cdi.k8s.io/"

// cdiNames lists the devices that are requested by qualified name: on the command line
// or in the configuration, by annotations, and by NVIDIA_VISIBLE_DEVICES.
func (p *plan) cdiNames() ([]string, error) {
	names := slices.Clone(p.CDI)
	for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
		if strings.HasPrefix(key, cdiAnnotations) {
			for name := range strings.SplitSeq(p.Annotations[key], ",") {
				names = append(names, strings.TrimSpace(name))
			}
		}
	}
	for _, name := range names {
		if !qualified(name) {
			return nil, fmt.Errorf("use CDI device %s: not a qualified name such as nvidia.com/gpu=0", text.Printable(name))
		}
	}
	if list, _ := p.env.list(visibleDevices); p.enabled("nvidia") {
		for _, entry := range list {
			// The image may set this variable, so it only reaches NVIDIA's devices.
			if qualified(entry) && strings.HasPrefix(entry, "nvidia.com/") {
				names = append(names, entry)
			}
		}
	}
	return unique(names), nil
}

// qualified reports whether a name has a vendor, a class and a device.
func qualified(name string) bool {
	kind, device, ok := strings.Cut(name, "=")
	return ok && validKind(kind) && validDevice(device)
}

func validKind(kind string) bool {
	vendor, class, ok := strings.Cut(kind, "/")
	return ok && validName(vendor, "_-.") && validName(class, "_-.") && isLetter(vendor[0]) && isLetter(class[0])
}

func validDevice(device string) bool { return validName(device, "_-.:") }

// validName checks a name by CDI's rules: letters and digits, and inside it also the
// characters of between.
func validName(name, between string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		c := name[i]
		inside := i > 0 && i < len(name)-1 && strings.IndexByte(between, c) >= 0
		if !isLetter(c) && (c < '0' || c > '9') && !inside {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// cdi gives the named devices, and the edits that their specifications make for any of
// their devices.
func (p *plan) cdi(names []string) error {
	if len(names) == 0 {
		return nil
	}
	known := p.cdiSpecs()
	used := map[string]bool{} // specifications, by file
	for _, name := range names {
		d, err := known.find(name)
		if err != nil {
			return err
		}
		if !used[d.spec.file] {
			used[d.spec.file] = true
			if err := p.cdiEdits(name, d.spec, d.spec.ContainerEdits); err != nil {
				return err
			}
		}
		if err := p.cdiEdits(name, d.spec, d.device.ContainerEdits); err != nil {
			return err
		}
		if strings.HasSuffix(d.spec.Kind, "/gpu") {
			p.given++
		}
	}
	return p.narrowToCDI()
}

// narrowToCDI makes Slurm's variable name only those GPUs that specifications gave the
// task; before, it counts all GPUs of the allocation.
func (p *plan) narrowToCDI() error {
	cards := p.nvidiaCards()
	if _, _, ok := p.env.slurmGPUs(); !p.Slurm || !ok || !slices.ContainsFunc(cards, func(c card) bool { return p.named[c.label] }) {
		return nil
	}
	allocated, err := p.allocated(cards, "CUDA_VISIBLE_DEVICES")
	if err != nil {
		return err
	}
	var given []card
	for _, c := range allocated.cards {
		if p.named[c.label] {
			given = append(given, c)
		}
	}
	if visible, set := p.narrowedList(allocated, given, "CUDA_VISIBLE_DEVICES"); set {
		p.add(bundle.Edit{From: "cdi", Rule: allocated.rule + ", narrowed to the named devices", Env: []string{"CUDA_VISIBLE_DEVICES=" + visible}})
	}
	return nil
}

// cdiEdits adds one containerEdits object of a specification.
func (p *plan) cdiEdits(name string, spec *cdiSpec, edits cdi.ContainerEdits) error {
	fail := func(err error) error { return fmt.Errorf("use CDI device %s of %s: %w", name, spec.file, err) }
	if edits.IntelRdt != nil {
		return fail(errors.New("intelRdt is not supported"))
	}
	if len(edits.NetDevices) > 0 {
		return fail(errors.New("netDevices are not supported"))
	}
	e := bundle.Edit{From: "cdi " + name, Rule: spec.file, Env: edits.Env}
	for _, gid := range edits.AdditionalGIDs {
		if gid != 0 {
			e.AdditionalGids = append(e.AdditionalGids, gid)
		}
	}
	for _, n := range edits.DeviceNodes {
		d, err := p.cdiDevice(n)
		if err != nil {
			return fail(err)
		}
		e.Devices = append(e.Devices, d)
		p.named[d.HostPath] = true
	}
	hooks, err := recogniseHooks(edits.Hooks)
	if err != nil {
		return fail(err)
	}
	e.Hooks = hooks.others
	for _, m := range edits.Mounts {
		mount, err := p.cdiMount(m, spec, hooks.folders)
		if err != nil {
			return fail(err)
		}
		if mount != nil {
			e.Mounts = append(e.Mounts, *mount)
		}
	}
	p.carryOut(hooks, &e)
	p.add(e)
	return nil
}

// cdiDevice returns a device node as a specification defines it, completed from the
// host. Numbers that differ from the specification's are an error: they may belong to
// another device now.
func (p *plan) cdiDevice(n *cdi.DeviceNode) (bundle.Device, error) {
	source := n.HostPath
	if source == "" {
		source = n.Path
	}
	d, err := p.Host.Device(source)
	if err != nil {
		return bundle.Device{}, fmt.Errorf("%w: there is no device %s; generate the specification again", ErrStale, source)
	}
	if d.Denied != nil {
		if errors.Is(d.Denied, unix.EPERM) {
			return bundle.Device{}, fmt.Errorf("the device cgroup denies %s: it is not in the allocation", source)
		}
		return bundle.Device{}, p.missingGroup([]host.Device{d})
	}
	if err := p.inAllocation(source); err != nil {
		return bundle.Device{}, err
	}
	if n.Major != 0 && (n.Major != d.Major || n.Minor != d.Minor) || n.Type != "" && n.Type != d.Type && (n.Type != "u" || d.Type != "c") {
		return bundle.Device{}, fmt.Errorf("%w: %s is device %s %d:%d now, not %s %d:%d; generate the specification again",
			ErrStale, source, d.Type, d.Major, d.Minor, cmp.Or(n.Type, d.Type), n.Major, n.Minor)
	}
	b := node(d)
	b.Path, b.HostPath, b.Access = n.Path, source, n.Permissions
	switch n.Permissions {
	case "":
		b.Access = "rwm"
	case "none":
		b.Access = ""
	}
	if n.FileMode != nil {
		mode := *n.FileMode & os.ModePerm
		b.FileMode = &mode
	}
	if n.UID != nil {
		b.UID = n.UID
	}
	if n.GID != nil {
		b.GID = n.GID
	}
	return b, nil
}

// inAllocation refuses a GPU that Slurm did not give to the task. It matters where no
// device cgroup denies it.
func (p *plan) inAllocation(device string) error {
	if _, ok := suffixNumber(device, "/dev/nvidia"); !ok || !p.Slurm {
		return nil
	}
	if _, _, ok := p.env.slurmGPUs(); !ok && !p.early() {
		return fmt.Errorf("%s is not in the allocation: Slurm gave this task no GPUs", device)
	}
	chosen, err := p.ofTask(p.nvidiaCards(), "CUDA_VISIBLE_DEVICES")
	if err != nil {
		return err
	}
	for _, c := range chosen.cards {
		if c.label == device {
			return nil
		}
	}
	return fmt.Errorf("%s is not in the allocation: %s", device, cmp.Or(chosen.rule, "Slurm does not say which GPUs this task has"))
}

// ErrNoDevice means that no CDI specification defines a requested device.
var ErrNoDevice = errors.New("not defined")

// ErrStale means that a specification names something that the host no longer has.
var ErrStale = errors.New("stale specification")

// cdiMount returns a mount of a specification. A library in a directory that the
// specification adds to the loader's cache is handled like the driver's own, and gets
// no mount here.
func (p *plan) cdiMount(m *cdi.Mount, spec *cdiSpec, folders []string) (*specs.Mount, error) {
	mount := specs.Mount{Destination: m.ContainerPath, Source: m.HostPath, Type: m.Type, Options: slices.Clone(m.Options)}
	if mount.Type == "" && !bundle.IsBind(mount) {
		mount.Options = append(mount.Options, "rbind")
	}
	if !bundle.IsBind(mount) && mount.Type != "bind" {
		return &mount, nil
	}
	resolved, err := p.Host.Resolve(m.HostPath)
	if err != nil {
		repaired, ok := p.repair(m.HostPath)
		if !ok {
			return nil, fmt.Errorf("%w: there is no %s; generate the specification again", ErrStale, m.HostPath)
		}
		p.warn(fmt.Sprintf("%s names %s, which is gone; using %s instead", spec.file, m.HostPath, repaired))
		p.addCDILibrary(repaired, path.Base(repaired), folders, m.ContainerPath, spec)
		return nil, nil //nolint:nilnil // it is a library now
	}
	mount.Source = p.Host.HostPath(resolved)
	if p.addCDILibrary(mount.Source, path.Base(m.ContainerPath), folders, m.ContainerPath, spec) {
		return nil, nil //nolint:nilnil // it is a library now
	}
	return &mount, nil
}

// addCDILibrary treats a mount as a library if it is one.
func (p *plan) addCDILibrary(source, file string, folders []string, destination string, spec *cdiSpec) bool {
	if !strings.HasPrefix(file, "lib") || !strings.Contains(file, ".so") {
		return false
	}
	folder := ""
	for _, f := range folders {
		if inside := strings.TrimPrefix(destination, path.Clean(f)+"/"); inside != destination && len(f) > len(folder) {
			folder = f
		}
	}
	if folder == "" {
		return false
	}
	lib, ok := p.libraryHeaders(source)
	if !ok {
		return false
	}
	if lib.Soname == "" {
		lib.Soname = file
	}
	base, _, _ := strings.Cut(file, ".so")
	p.libraries = append(p.libraries, library{
		source: source, file: file, soname: lib.Soname, needs: glibcOf(lib), optional: optional(base), from: spec.file,
		dir: strings.Trim(path.Dir(strings.TrimPrefix(destination, path.Clean(folder))), "/."),
	})
	return true
}

// repair finds the driver library that replaces a missing one, if the site enables
// that.
func (p *plan) repair(gone string) (string, bool) {
	base, _, ok := strings.Cut(path.Base(gone), ".so.")
	if !p.Site.RepairStale || !ok {
		return "", false
	}
	for _, l := range p.driver().Libraries {
		if l.Name == base {
			return l.Path, true
		}
	}
	return "", false
}
