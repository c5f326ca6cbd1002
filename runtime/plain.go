package runtime

import (
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// plainMounts makes paths absolute: sources of binds relative to the bundle, and
// destinations relative to the root, which are deprecated but allowed (config.md, Mounts).
// It leaves out options without an effect, which libcontainer would pass to the file system.
func plainMounts(mounts []specs.Mount, dir string) bundle.Edit {
	e := bundle.Edit{From: "plain mounts", Rule: "absolute paths, and options that have an effect"}
	nothing := func(option string) bool { return option == "" || option == "defaults" }
	for i, m := range mounts {
		was := m
		if m.Type == "bind" && !slices.ContainsFunc(m.Options, isBindOption) {
			m.Options = append([]string{"bind"}, m.Options...) // libcontainer looks only at the options
		}
		if bundle.IsBind(m) && !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(dir, m.Source)
		}
		if !filepath.IsAbs(m.Destination) {
			m.Destination = filepath.Join("/", m.Destination)
		}
		if slices.ContainsFunc(m.Options, nothing) {
			m.Options = slices.DeleteFunc(slices.Clone(m.Options), nothing)
		}
		if m.Source != was.Source || m.Destination != was.Destination || !slices.Equal(m.Options, was.Options) {
			e.MountsAt = append(e.MountsAt, inPlaceOf(i, m))
		}
	}
	return e
}

// inPlaceOf replaces the mount at index i by the given ones.
func inPlaceOf(i int, mounts ...specs.Mount) bundle.MountsAt {
	return bundle.MountsAt{Index: i, Replaced: 1, Mounts: mounts}
}

func isBindOption(option string) bool { return option == "bind" || option == "rbind" }

// plainDevices drops the device numbers of fifos. They have no meaning (config-linux.md,
// Devices), but libcontainer would compare them with the fifo's.
func plainDevices(linux *specs.Linux) bundle.Edit {
	e := bundle.Edit{From: "plain devices", Rule: "a fifo has no device number"}
	if linux == nil {
		return e
	}
	for _, d := range linux.Devices {
		if d.Type == "p" && (d.Major != 0 || d.Minor != 0) {
			d.Major, d.Minor = 0, 0
			e.Devices = append(e.Devices, bundle.Device{LinuxDevice: d})
		}
	}
	return e
}
