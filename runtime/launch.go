package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	_ "github.com/opencontainers/cgroups/devices" // the device rules of cgroups
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // the C constructor that enters namespaces
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// libcontainerDir is the directory of an entry that libcontainer writes to.
const libcontainerDir = "libcontainer"

// LaunchOptions says how to create a container from its bundle. The zero value is an
// engine's default.
type LaunchOptions struct {
	NoPivot         bool // chroot instead of pivot_root
	NoNewKeyring    bool // keep the caller's session keyring
	SystemdCgroup   bool // let systemd make the cgroup
	RootlessCgroups bool // run without a cgroup where none can be made

	PidFile       string // takes the pid of the first process, in decimal
	ConsoleSocket string // unix socket that takes the terminal's master
	PidfdSocket   string // unix socket that takes a pidfd of the first process
	NotifySocket  string // unix socket that gets the container's readiness (sd_notify(3))
	ListenFDs     int    // descriptors from 3 on that a service listens on (sd_listen_fds(3))
	PreserveFDs   int    // further descriptors that the container keeps

	// InPlace allows a launch without a supervisor, if the container needs none. Containers
	// on this host with the same SharedBy, the id of a Slurm step, share a user namespace
	// then; empty for a namespace of its own.
	InPlace  bool
	SharedBy string

	// Layer is the directory of a layer on disk that the caller has made (scratch.Make), and
	// removes; empty for one that is made and removed with the container.
	Layer string

	// Restore makes the container from a checkpoint. It runs at once, without Start.
	Restore *CheckpointOptions

	Policies
	// Output is the file to which CreateSupervised writes the output of a Slurm task; if
	// empty, a file in the entry.
	Output string
}

// plan applies the edits that a launch on this host needs, and makes the files that they
// refer to in dir, the container's entry. It returns the destinations at which parts of the
// image are mounted by path.
func plan(b *bundle.Bundle, dir string, o LaunchOptions) (ofImage []string, err error) {
	if err := foresee(b, o); err != nil {
		return nil, err
	}
	activation, err := activationEdit(dir, o)
	if err != nil {
		return nil, err
	}
	if err := amend(b, activation); err != nil {
		return nil, err
	}
	injected := len(b.Files)+len(b.Links)+len(b.Directories) > 0
	if err := inject(b, dir, false); err != nil {
		return nil, err
	}
	if o.Image == ImageReadOnly || o.InPlace || injected || !utf8.ValidString(b.Rootfs) || unix.Access(b.Rootfs, unix.W_OK) != nil {
		return addMountPoints(b, dir, mountpoints.Options{ByPath: true, Strict: o.InPlace})
	}
	return nil, nil
}

// isTerminal reports whether the file is a terminal (isatty(3)).
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// enterBundle makes the bundle our working directory: libcontainer takes the working
// directory for the bundle, and a task's own may be gone.
func enterBundle(b *bundle.Bundle) error {
	if err := os.Chdir(b.Dir); err != nil {
		return fmt.Errorf("enter bundle: %w", err)
	}
	return nil
}

// newContainer makes libcontainer's container from the planned bundle, which must be the
// working directory.
func (c *Container) newContainer(b *bundle.Bundle, o LaunchOptions) (*libcontainer.Container, error) {
	name := c.entry.Name()
	names, err := nameable(b, c.dir())
	if err != nil {
		return nil, err
	}
	if err := amend(b, names); err != nil {
		return nil, err
	}
	config, err := convert(b, o, name)
	if err != nil {
		return nil, err
	}
	c.keepPoststart(b.Spec, config)
	switch {
	case os.Geteuid() == 0:
	case o.Cgroup == CallersCgroup:
		stayInCgroup(config.Cgroups)
	case o.RootlessCgroups && !o.SystemdCgroup && config.Cgroups.Path == "" && !mayMakeCgroup():
		goWithoutCgroup(config.Cgroups)
	}
	lc, err := libcontainer.Create(c.entry.File(libcontainerDir), name, config)
	if err != nil {
		return nil, fmt.Errorf("create container: %w", err)
	}
	return lc, c.recordCgroups(lc)
}

// convert converts the planned bundle to libcontainer's configuration. The bundle must be
// the working directory.
func convert(b *bundle.Bundle, o LaunchOptions, name string) (*configs.Config, error) {
	spec := *b.Spec
	spec.Root = &specs.Root{Path: b.Rootfs, Readonly: b.Spec.Root.Readonly}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{
		CgroupName:       name,
		UseSystemdCgroup: o.SystemdCgroup,
		NoPivotRoot:      o.NoPivot,
		NoNewKeyring:     o.NoNewKeyring,
		Spec:             &spec,
		RootlessEUID:     os.Geteuid() != 0,
		RootlessCgroups:  o.RootlessCgroups,
	})
	if err != nil {
		return nil, fmt.Errorf("convert %s: %w", filepath.Join(b.Dir, bundle.ConfigName), err)
	}
	for i, label := range config.Labels { // the bundle's path, and annotations
		config.Labels[i] = bundle.EncodeBytes(label)
	}
	return config, nil
}

// recordCgroups records which cgroups libcontainer will make, if we may make any.
func (c *Container) recordCgroups(lc *libcontainer.Container) error {
	state, err := lc.State()
	if err != nil {
		return fmt.Errorf("find cgroups: %w", err)
	}
	if state.Config.RootlessCgroups || state.Config.Cgroups.Systemd {
		return nil
	}
	c.Cgroups = state.CgroupPaths
	return c.write()
}

// newProcess converts the spec's process to libcontainer's.
func newProcess(p *specs.Process) (*libcontainer.Process, error) {
	lp := &libcontainer.Process{
		Args:            p.Args,
		Env:             p.Env,
		UID:             int(p.User.UID),
		GID:             int(p.User.GID),
		Cwd:             p.Cwd,
		Label:           p.SelinuxLabel,
		NoNewPrivileges: &p.NoNewPrivileges,
		AppArmorProfile: p.ApparmorProfile,
		Scheduler:       p.Scheduler,
		IOPriority:      p.IOPriority,
		LogLevel:        strconv.Itoa(int(logrus.GetLevel())),
	}
	if size := p.ConsoleSize; size != nil {
		lp.ConsoleWidth, lp.ConsoleHeight = uint16(size.Width), uint16(size.Height)
	}
	if caps := p.Capabilities; caps != nil {
		lp.Capabilities = &configs.Capabilities{
			Bounding:    caps.Bounding,
			Effective:   caps.Effective,
			Inheritable: caps.Inheritable,
			Permitted:   caps.Permitted,
			Ambient:     caps.Ambient,
		}
	}
	for _, gid := range p.User.AdditionalGids {
		lp.AdditionalGroups = append(lp.AdditionalGroups, int(gid))
	}
	for _, limit := range p.Rlimits {
		number, ok := inplace.RlimitNumber(limit.Type)
		if !ok {
			return nil, fmt.Errorf("set rlimit: unknown type %q", limit.Type)
		}
		lp.Rlimits = append(lp.Rlimits, configs.Rlimit{Type: number, Hard: limit.Hard, Soft: limit.Soft})
	}
	affinity, err := configs.ConvertCPUAffinity(p.ExecCPUAffinity)
	if err != nil {
		return nil, fmt.Errorf("read CPU affinity: %w", err)
	}
	lp.CPUAffinity = affinity
	asText(lp)
	return lp, nil
}

// writePidFile writes the pid in decimal. It replaces the file by rename, in the directory
// as it was opened.
func writePidFile(path string, pid int) error {
	p, err := openDirectory(path)
	if err != nil {
		return fmt.Errorf("write pid file %s: %w", path, reasonOf(err))
	}
	defer p.close()
	dir, next := int(p.dir.Fd()), "."+p.name+".new"
	_ = unix.Unlinkat(dir, next, 0) // a killed process may have left one
	fd, err := unix.Openat(dir, next, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err == nil {
		f := os.NewFile(uintptr(fd), next)
		_, err = f.WriteString(strconv.Itoa(pid))
		err = errors.Join(err, f.Close())
		if err == nil {
			err = unix.Renameat(dir, next, dir, p.name)
		}
	}
	if err != nil {
		_ = unix.Unlinkat(dir, next, 0)
		return fmt.Errorf("write pid file %s: %w", path, reasonOf(err))
	}
	return nil
}

// reasonOf strips the path from an error: the temporary file's name means nothing to the
// caller.
func reasonOf(err error) error {
	var path *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
