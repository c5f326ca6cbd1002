package profile

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/request"
)

// A Request is what the hpc profile depends on besides the bundle.
type Request struct {
	Config *config.Config
	Choice request.Choice

	UID, GID int
	Home     string // of the user; empty if unknown
	Workdir  string // of the job, or the caller; empty if unknown

	// Exists reports whether the path exists on the host.
	Exists func(path string) bool
	// InImage reports whether there is a directory at the path in the image.
	InImage func(path string) bool

	// OwnTerminal says that the container gets its own terminal. Most hosts do not let users make
	// one through the ptmx in their /dev/pts, which is how runtimes make terminals.
	OwnTerminal bool
}

// HPC returns the edit for integration over isolation: the container has the host's processes,
// network, devices and shared memory, and the user keeps their identity. It drops what the bundle
// says about isolation and limits: in a Slurm job the limits are Slurm's.
func HPC(spec *specs.Spec, r Request) (bundle.Edit, error) {
	if r.Workdir != "" {
		r.Workdir = path.Clean(r.Workdir) // as it will be mounted
	}
	e := bundle.Edit{
		From: "profile hpc",
		Rule: r.Choice.By,
		Drop: []string{
			"hostname", "domainname", "process.capabilities", "process.rlimits", "process.oomScoreAdj", "process.consoleSize",
			"linux.namespaces", "linux.mappings", "linux.maskedPaths", "linux.readonlyPaths", "linux.resources", "linux.cgroupsPath",
			"linux.devices", "linux.netDevices", "linux.sysctl", "linux.intelRdt", "linux.timeOffsets",
		},
		DropMounts:      []string{"/proc", "/sys", "/dev"},
		Namespaces:      []specs.LinuxNamespace{{Type: specs.UserNamespace}, {Type: specs.MountNamespace}},
		User:            &specs.User{UID: uint32(r.UID), GID: uint32(r.GID), Umask: spec.Process.User.Umask},
		NoNewPrivileges: true,
	}
	mounts, err := r.mounts()
	if err != nil {
		return e, err
	}
	e.MountsFirst = mounts
	for _, m := range mounts {
		// If the image has something else than a directory at one of these, they are refused.
		if m.Destination != "/proc" && m.Destination != "/sys" && m.Destination != "/dev" {
			e.Exact = append(e.Exact, m.Destination)
		}
	}
	if r.Config.HPC.Tmp {
		relocate(spec, &e)
	}
	if home, _ := bundle.Getenv(spec.Process.Env, "HOME"); home == "" {
		e.Env = append(e.Env, "HOME="+cmp.Or(r.Home, "/"))
	}
	if r.Workdir != "" && (covered(mounts, r.Workdir) && r.Exists(r.Workdir) || r.InImage(r.Workdir)) {
		e.Cwd = r.Workdir
	}
	return e, nil
}

// mounts lists what the host provides, parents first. It leaves out a directory that another mount
// already shows at its own path.
func (r Request) mounts() ([]specs.Mount, error) {
	mounts := []specs.Mount{bind("/proc", "/proc"), bind("/sys", "/sys"), bind("/dev", "/dev")}
	if r.OwnTerminal {
		mounts = append(mounts, ownTerminals()...)
	}
	for _, own := range []struct {
		wanted bool
		dir    string
	}{{r.Config.HPC.Tmp, "/tmp"}, {r.Config.HPC.Home, r.Home}, {r.Config.HPC.Workdir, r.Workdir}} {
		dir := path.Clean(own.dir)
		if own.wanted && path.IsAbs(dir) && dir != "/" && r.Exists(dir) && !covered(mounts, dir) {
			mounts = append(mounts, bind(dir, dir))
		}
	}
	for _, name := range r.Config.HPC.Etc {
		if file := path.Join("/etc", name); r.Exists(file) {
			mounts = append(mounts, bind(file, file, "ro"))
		}
	}
	for i, m := range r.Config.HPC.Mounts {
		if !r.Exists(m.Source) {
			if m.Optional {
				continue
			}
			key := fmt.Sprintf("hpc.mounts[%d]", i)
			return nil, fmt.Errorf("%s (%s): this host has no %s", key, r.Config.Origin(key), m.Source)
		}
		mounts = append(mounts, siteMount(m))
	}
	slices.SortStableFunc(mounts, func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	return mounts, nil
}

// ownTerminals returns mounts with which a terminal can be made. The terminal is bound over
// /dev/console, so the user must be able to open that.
func ownTerminals() []specs.Mount {
	return []specs.Mount{
		bundle.Devpts(),
		bind("/dev/null", "/dev/console"),
	}
}

func siteMount(m config.Mount) specs.Mount {
	made := bind(m.Source, m.Destination)
	for _, option := range m.Options {
		if option == config.BindOnly {
			made.Options[0] = "bind"
			continue
		}
		made.Options = append(made.Options, option)
	}
	return made
}

// covered reports whether one of the mounts shows the directory at its own path.
func covered(mounts []specs.Mount, dir string) bool {
	return slices.ContainsFunc(mounts, func(m specs.Mount) bool {
		return m.Source == m.Destination && (dir == m.Destination || strings.HasPrefix(dir, m.Destination+"/"))
	})
}

// Slurm puts the script and the output files of a batch job into slurmPlace
// (slurmd/slurmstepd/container.c). If /tmp is the host's, they move to ownPlace: otherwise they
// would have to be made where everybody sees them.
const (
	slurmPlace = "/tmp/slurm/"
	ownPlace   = "/run/ocishim/"
)

// relocate moves these files, and the paths in the command.
func relocate(spec *specs.Spec, e *bundle.Edit) {
	for _, m := range spec.Mounts {
		name, found := strings.CutPrefix(m.Destination, slurmPlace)
		if !found {
			continue
		}
		if len(e.DropMounts) == 0 || e.DropMounts[len(e.DropMounts)-1] != path.Clean(slurmPlace) {
			e.DropMounts = append(e.DropMounts, path.Clean(slurmPlace))
		}
		m.Destination = ownPlace + name
		e.Mounts = append(e.Mounts, m)
	}
	if name, found := strings.CutPrefix(spec.Process.Args[0], slurmPlace); found && len(e.Mounts) > 0 {
		e.Args = append([]string{ownPlace + name}, spec.Process.Args[1:]...)
	}
}
