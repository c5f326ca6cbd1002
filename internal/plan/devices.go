package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrNotTasks says that this process may not use a device, so that its container may not either.
var ErrNotTasks = errors.New("this task may not use it")

// byOption begins the source of a wish that an option of the command line makes.
const byOption = "--"

// mayHave returns the devices that may be given. An engine calls with the annotations of whoever asked
// it for a container, so that they count only where its containers may ask for GPUs.
func (p *composition) mayHave(devices []request.Choice) []request.Choice {
	if p.scene.Slurm || p.scene.Config.GPU.Engines {
		return devices
	}
	return slices.DeleteFunc(slices.Clone(devices), func(c request.Choice) bool { return !strings.HasPrefix(c.By, byOption) })
}

// deviceNodes gives the container device nodes of the host that this process may use. Where the
// container has the host's /dev they are there, and only checked.
func (p *composition) deviceNodes() error {
	for _, c := range p.mayHave(p.request.DeviceNodes) {
		if p.scene.Slurm {
			if err := p.scene.Config.Allow(config.MayDevices, c.By); err != nil {
				return err
			}
		}
		name, _ := os.Hostname()
		d, err := p.scene.Host.Device(c.Value)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: host %s has no device %s", c.By, text.Printable(name), text.Printable(c.Value))
		case errors.Is(err, host.ErrNotDevice):
			return fmt.Errorf("%s: device %s: %w", c.By, text.Printable(c.Value), host.ErrNotDevice)
		case err != nil:
			return fmt.Errorf("%s: device %s: %w", c.By, text.Printable(c.Value), err)
		case d.Denied != nil:
			return fmt.Errorf("%s: device %s: %w on host %s: %w", c.By, text.Printable(c.Value), ErrNotTasks, name, d.Denied)
		}
		e := bundle.Edit{From: "devices", Rule: c.By}
		if !bundle.HasDevice(p.bundle.Spec.Mounts, c.Value) {
			e.Mounts = append(e.Mounts, bundle.Bind(c.Value, c.Value, "bind", "nosuid", "noexec"))
		}
		if err := p.apply(e); err != nil {
			return err
		}
	}
	return nil
}
