package gpu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// node returns the device node that the container gets: the same as on the host.
func node(d host.Device) bundle.Device {
	mode := os.FileMode(d.Perm)
	return bundle.Device{
		LinuxDevice: specs.LinuxDevice{
			Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor,
			FileMode: &mode, UID: &d.UID, GID: &d.GID,
		},
		Access: "rw",
	}
}

// readOnly is node for devices that are only read.
func readOnly(d host.Device) bundle.Device {
	b := node(d)
	b.Access = "r"
	return b
}

// device returns a device node that the container gets if the task may use it.
func (p *plan) device(path string) (bundle.Device, bool) {
	d, err := p.Host.Device(path)
	if err != nil || d.Denied != nil {
		return bundle.Device{}, false
	}
	return node(d), true
}

// required returns a device node that the GPUs cannot do without.
func (p *plan) required(path string) (bundle.Device, error) {
	d, err := p.Host.Device(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bundle.Device{}, fmt.Errorf("give GPUs: there is no %s on this host", path)
	case err != nil:
		return bundle.Device{}, fmt.Errorf("give GPUs: %w", err)
	case errors.Is(d.Denied, unix.EPERM):
		return bundle.Device{}, fmt.Errorf("give GPUs: the device cgroup denies %s; allow it for jobs with GPUs", path)
	case d.Denied != nil:
		return bundle.Device{}, p.missingGroup([]host.Device{d})
	}
	return node(d), nil
}

// missingGroup returns an error that names the group which would let the task use a
// device node.
func (p *plan) missingGroup(nodes []host.Device) error {
	for _, d := range nodes {
		if d.Denied == nil {
			continue
		}
		gid := strconv.FormatUint(uint64(d.GID), 10)
		group := "group " + gid
		if name := p.Host.GroupName(gid); name != "" {
			group = "group " + name
		}
		return fmt.Errorf("give GPUs: no permission for %s: it is for %s (mode %04o), and the task is not a member", d.Path, group, d.Perm)
	}
	return errors.New("give GPUs: no permission")
}

// driNodes returns the device nodes of a PCI device below /dev/dri: cards and render
// nodes.
func (p *plan) driNodes(sysfs string) []host.Device {
	var nodes []host.Device
	for _, name := range sorted(p.Host.Names(sysfs + "/drm")) {
		if !strings.HasPrefix(name, "card") && !strings.HasPrefix(name, "renderD") || strings.Contains(name, "-") {
			continue // connectors have names such as card0-DP-1
		}
		if d, err := p.Host.Device("/dev/dri/" + name); err == nil {
			nodes = append(nodes, d)
		}
	}
	return nodes
}

// byPath returns the links that name DRM device nodes by PCI address, for the device
// nodes that the container gets.
func (p *plan) byPath(devices []bundle.Device) []bundle.Link {
	given := map[string]bool{}
	for _, d := range devices {
		if strings.HasPrefix(d.Path, "/dev/dri/") {
			given[d.Path] = true
		}
	}
	if len(given) == 0 {
		return nil
	}
	var links []bundle.Link
	for _, name := range sorted(p.Host.Names(driLinks)) {
		target, err := p.Host.Readlink(driLinks + "/" + name)
		if err == nil && given[path.Join(driLinks, target)] {
			links = append(links, bundle.Link{Path: driLinks + "/" + name, Target: target})
		}
	}
	return links
}

// driLinks is the directory of these links.
const driLinks = "/dev/dri/by-path"

// asIs returns a mount of a path of the host at the same path. The flags are those of
// the host's /dev.
func (p *plan) asIs(at, option string) specs.Mount {
	return bundle.Bind(p.Host.HostPath(at), at, option)
}
