package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
)

// libcontainerDir is the part of an entry that libcontainer writes.
const libcontainerDir = "libcontainer"

// LaunchOptions says how to create a container, beside its bundle. The zero
// value is what an engine gets by default.
type LaunchOptions struct {
	NoPivot         bool // chroot instead of pivot_root
	NoNewKeyring    bool // keep the caller's session keyring
	SystemdCgroup   bool // have systemd make the cgroup
	RootlessCgroups bool // go without a cgroup where none can be made

	PidFile       string // takes the pid of the first process, in decimal
	ConsoleSocket string // unix socket that takes the terminal's master
	PidfdSocket   string // unix socket that takes a pidfd of the first process
	NotifySocket  string // unix socket that hears when the container is ready (sd_notify(3))
	ListenFDs     int    // descriptors from 3 on that a service listens on (sd_listen_fds(3))
	PreserveFDs   int    // further descriptors that the container keeps

	// InPlace lets the container be launched without a supervisor, where it
	// needs none. SharedBy names those whose containers on this node share a user
	// namespace then; empty for nobody.
	InPlace  bool
	SharedBy string

	// Restore has the container made from a checkpoint: it runs from the
	// first moment.
	Restore *CheckpointOptions

	Policies
	// Output is where CreateSupervised puts the output of a Slurm task; the entry's
	// own file when empty.
	Output string
}

// plan applies to the bundle what its launch here needs, as edits; what they
// refer to is made in dir, the container's entry.
func plan(b *bundle.Bundle, dir string, o LaunchOptions) error {
	b.Spec.Mounts = plainMounts(b.Spec.Mounts, b.Dir)
	uid, gid := os.Geteuid(), os.Getegid()
	if uid != 0 {
		if err := b.Apply(rootlessEdit(b.Spec, uid, gid)); err != nil {
			return err
		}
	}
	if o.Terminal == TerminalOfCaller && !b.Spec.Process.Terminal && isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		if err := b.Apply(bundle.Edit{From: "terminal", Terminal: true}); err != nil {
			return err
		}
	}
	if foreign := withoutForeignIDs(b.Spec); len(foreign.Mounts) > 0 {
		if err := b.Apply(foreign); err != nil {
			return err
		}
	}
	dirs, err := checkSources(b.Spec.Mounts)
	if err != nil {
		return err
	}
	if err := unlockable(b.Spec, dirs, true); err != nil {
		return err
	}
	if o.InPlace {
		b.Spec.Mounts = recursively(b.Spec.Mounts)
	}
	activation, err := activationEdit(dir, o)
	if err != nil {
		return err
	}
	if len(activation.Env) > 0 {
		if err := b.Apply(activation); err != nil {
			return err
		}
	}
	injected := len(b.Files)+len(b.Links)+len(b.Directories) > 0
	if err := makeInjected(b, dir, false); err != nil {
		return err
	}
	if o.Image == ImageReadOnly || o.InPlace || injected || !utf8.ValidString(b.Rootfs) || unix.Access(b.Rootfs, unix.W_OK) != nil {
		return applyScaffold(b, dir, true, o.InPlace)
	}
	return nil
}

// applyScaffold adds the mount points that the image lacks, made in the entry.
func applyScaffold(b *bundle.Bundle, entry string, byPath, strict bool) error {
	edit, err := planScaffold(b, filepath.Join(entry, scaffoldDir), byPath, strict)
	if err != nil {
		return err
	}
	edit.From = scaffoldEdit
	if len(edit.MountsFirst) == 0 && edit.RootPath == "" {
		return nil
	}
	return b.Apply(edit)
}

// isTerminal tells whether the file is a terminal (isatty(3)).
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// enterBundle makes the bundle our working directory: libcontainer takes that for the
// bundle, and a task's own may be gone.
func (l *launch) enterBundle() error {
	if err := os.Chdir(l.b.Dir); err != nil {
		return fmt.Errorf("enter bundle: %w", err)
	}
	return nil
}

// newContainer makes libcontainer's container from the planned bundle, in which we are.
func (c *Container) newContainer(b *bundle.Bundle, o LaunchOptions) (*libcontainer.Container, error) {
	name := c.entry.Name()
	spec := *b.Spec
	spec.Root = &specs.Root{Path: b.Rootfs, Readonly: b.Spec.Root.Readonly}
	spec.Linux = withoutFifoNumbers(spec.Linux)
	if err := nameable(&spec, c.dir(), b.Foreign); err != nil {
		return nil, err
	}
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
	c.keepPoststart(&spec, config)
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

// withoutFifoNumbers drops the device numbers of fifos: they mean nothing there
// (config-linux.md, Devices), but libcontainer looks for them in the fifo.
func withoutFifoNumbers(linux *specs.Linux) *specs.Linux {
	if linux == nil {
		return nil
	}
	changed := *linux
	changed.Devices = slices.Clone(linux.Devices)
	for i := range changed.Devices {
		if d := &changed.Devices[i]; d.Type == "p" {
			d.Major, d.Minor = 0, 0
		}
	}
	return &changed
}

// recordCgroups notes which cgroups Start will make, where we may make any.
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

// plainMounts makes sources of binds absolute, which are relative to the bundle, and
// destinations, which are relative to the root: deprecated, and allowed (config.md,
// Mounts). Options that change nothing are left out: libcontainer takes them for a file
// system's own.
func plainMounts(mounts []specs.Mount, dir string) []specs.Mount {
	plain := make([]specs.Mount, len(mounts))
	nothing := func(option string) bool { return option == "" || option == "defaults" }
	for i, m := range mounts {
		if m.Type == "bind" && !slices.ContainsFunc(m.Options, isBindOption) {
			m.Options = append([]string{"bind"}, m.Options...) // libcontainer knows it by this alone
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
		plain[i] = m
	}
	return plain
}

func isBindOption(option string) bool { return option == "bind" || option == "rbind" }

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

// writePidFile writes the pid in decimal, by rename in the directory as it was opened.
func writePidFile(path string, pid int) error {
	p, err := openDirectory(path)
	if err != nil {
		return fmt.Errorf("write pid file %s: %w", path, reasonOf(err))
	}
	defer p.close()
	dir, next := int(p.dir.Fd()), "."+p.name+".new"
	_ = unix.Unlinkat(dir, next, 0) // what a killed process left
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

// reasonOf leaves out the path of a file whose name means nothing to the caller.
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
