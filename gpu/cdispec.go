package gpu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/ocishim/ocishim/internal/text"
	"github.com/ocishim/ocishim/internal/yaml"
)

// A cdiSpec is a specification and the file it comes from.
type cdiSpec struct {
	cdi.Spec
	file string
}

// A cdiDevice is a device of a specification.
type cdiDevice struct {
	spec     *cdiSpec
	device   cdi.Device
	priority int    // of the directory: a later one overrides
	conflict string // another file of the same priority that defines it
}

// A cdiRegistry holds all specifications of the host.
type cdiRegistry struct {
	dirs    []string
	devices map[string]cdiDevice // by qualified name
	broken  map[string]error     // files that cannot be read
}

// cdiSpecs reads the specifications. Later directories override earlier ones.
func (p *plan) cdiSpecs() cdiRegistry {
	r := cdiRegistry{dirs: p.Site.CDIDirs, devices: map[string]cdiDevice{}, broken: map[string]error{}}
	if len(r.dirs) == 0 {
		r.dirs = []string{"/etc/cdi", "/var/run/cdi"}
	}
	for priority, dir := range r.dirs {
		for _, name := range sorted(p.Host.Names(dir)) {
			file := path.Join(dir, name)
			if ext := path.Ext(name); ext != ".json" && ext != ".yaml" {
				continue
			}
			data, err := p.Host.ReadFile(file)
			if err == nil {
				err = r.add(file, data, priority)
			}
			if err != nil {
				r.broken[file] = err
			}
		}
	}
	return r
}

func (r *cdiRegistry) add(file string, data []byte, priority int) error {
	spec, err := parseCDI(file, data)
	if err != nil {
		return err
	}
	for _, d := range spec.Devices {
		name := spec.Kind + "=" + d.Name
		next := cdiDevice{spec: spec, device: d, priority: priority}
		if old, ok := r.devices[name]; ok && old.priority == priority {
			next.conflict = old.spec.file
		}
		r.devices[name] = next
	}
	return nil
}

// find returns the device with that name, or an error that says why it is missing.
func (r *cdiRegistry) find(name string) (cdiDevice, error) {
	d, ok := r.devices[name]
	switch {
	case ok && d.conflict != "":
		return d, fmt.Errorf("use CDI device %s: both %s and %s define it", name, d.conflict, d.spec.file)
	case ok:
		return d, nil
	}
	for file, err := range r.broken {
		return d, fmt.Errorf("use CDI device %s: %w in %s, and %s cannot be read: %w", name, ErrNoDevice, strings.Join(r.dirs, ", "), file, err)
	}
	return d, fmt.Errorf("use CDI device %s: %w in %s", name, ErrNoDevice, strings.Join(r.dirs, ", "))
}

// parseCDI reads a specification of version 0.3 to 1.1.
func parseCDI(file string, data []byte) (*cdiSpec, error) {
	if path.Ext(file) == ".yaml" {
		value, err := yaml.Parse(string(data))
		if err != nil {
			return nil, err
		}
		if data, err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	spec := &cdiSpec{file: file}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&spec.Spec); err != nil {
		return nil, err
	}
	if err := cdi.ValidateVersion(&spec.Spec); err != nil {
		return nil, fmt.Errorf("cdiVersion: %w", err)
	}
	if !validKind(spec.Kind) {
		return nil, fmt.Errorf("kind %s is not a vendor and a class such as nvidia.com/gpu", text.Printable(spec.Kind))
	}
	if len(spec.Devices) == 0 {
		return nil, errors.New("it defines no device")
	}
	seen := map[string]bool{}
	all := []cdi.ContainerEdits{spec.ContainerEdits}
	for _, d := range spec.Devices {
		if !validDevice(d.Name) || seen[d.Name] {
			return nil, fmt.Errorf("device name %s is invalid or defined twice", text.Printable(d.Name))
		}
		seen[d.Name] = true
		all = append(all, d.ContainerEdits)
	}
	for _, e := range all {
		if err := validEdits(e); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// validEdits refuses edits that no launcher can apply.
func validEdits(e cdi.ContainerEdits) error {
	for _, entry := range e.Env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			return fmt.Errorf("env: %s is not NAME=value", text.Printable(entry))
		}
	}
	for _, d := range e.DeviceNodes {
		switch {
		case d == nil || !path.IsAbs(d.Path):
			return errors.New("deviceNodes: an entry has no absolute path")
		case d.Permissions != "none" && strings.Trim(d.Permissions, "rwm") != "":
			return fmt.Errorf("deviceNodes: permissions %s contain something other than r, w and m", text.Printable(d.Permissions))
		}
	}
	for _, m := range e.Mounts {
		if m == nil || m.HostPath == "" || !path.IsAbs(m.ContainerPath) {
			return errors.New("mounts: an entry lacks hostPath or an absolute containerPath")
		}
	}
	for _, h := range e.Hooks {
		if h == nil || !path.IsAbs(h.Path) {
			return errors.New("hooks: an entry has no absolute path")
		}
	}
	return nil
}
