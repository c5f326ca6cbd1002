package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// processFile is the file of an entry with the spec's process, after all edits. Processes
// that are added later are made after it: config.json may be gone by then.
const processFile = "process.json"

// maxProcess is how many bytes of it are read at most.
const maxProcess = 32 << 20

func (c *Container) keepProcess(p *specs.Process) error {
	data, err := bundle.Marshal(keptProcess{*p})
	if err != nil {
		return fmt.Errorf("keep process of container %q: %w", c.ID, err)
	}
	if err := os.WriteFile(c.entry.File(processFile), data, 0o600); err != nil {
		return fmt.Errorf("keep process of container %q: %w", c.ID, err)
	}
	return nil
}

// A keptProcess is a process that is written quickly: most have few of the fields.
type keptProcess struct{ specs.Process }

func (p keptProcess) MarshalJSON() ([]byte, error) { return bundle.MarshalFields(p) }

// Process returns the process of the container's spec, as it was started.
func (c *Container) Process() (*specs.Process, error) {
	if c.InPlace {
		t, err := c.task()
		if err != nil {
			return nil, err
		}
		return t.Process(), nil
	}
	data, err := entry.ReadFile(c.entry.File(processFile), maxProcess)
	if err != nil {
		return nil, fmt.Errorf("read process of container %q: %w", c.ID, err)
	}
	p := new(specs.Process)
	if err := bundle.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("read process of container %q: %w", c.ID, err)
	}
	return p, nil
}

// ExecOptions says how to add a process to a container.
type ExecOptions struct {
	Detach        bool   // do not wait for its end
	PidFile       string // takes its pid, in decimal
	PidfdSocket   string // unix socket that takes its pidfd
	ConsoleSocket string // with Detach: takes the terminal's master
	PreserveFDs   int    // descriptors from 3 on that it keeps
	IgnorePaused  bool   // add it even to a paused container

	// Cgroups are paths of existing cgroups below the container's, by controller. With
	// cgroup v2 there is one, under the empty name.
	Cgroups map[string]string
}

// Exec adds a process to the container. Unless the process is detached, Exec waits for its
// end and returns its status as Run does; if the caller is killed, the process ends as
// well. In a container that was launched in place the caller becomes the process, and Exec
// does not return.
func (c *Container) Exec(p *specs.Process, o ExecOptions) (int, error) {
	switch status := c.Status(); {
	case status == entry.Stopped || status == entry.Creating:
		return 0, fmt.Errorf("add process to container %q: %w: it is %s", c.ID, entry.ErrNotRunning, status)
	case status == entry.Paused && !o.IgnorePaused:
		return 0, fmt.Errorf("add process to container %q: %w", c.ID, ErrPaused)
	case o.ConsoleSocket != "" && (!o.Detach || !p.Terminal):
		return 0, fmt.Errorf("add process to container %q: a console socket is for a detached process with a terminal", c.ID)
	case o.Detach && p.Terminal && o.ConsoleSocket == "":
		return 0, fmt.Errorf("add process to container %q: nobody would hold its terminal; pass --console-socket", c.ID)
	}
	if err := errors.Join(mayLaunch(), c.here(), c.checkExec(p, o)); err != nil {
		return 0, fmt.Errorf("add process to container %q: %w", c.ID, err)
	}
	if c.InPlace {
		return 0, c.execInPlace(p, o)
	}
	lc, err := c.libcontainer()
	if err != nil {
		return 0, fmt.Errorf("add process to container %q: %w", c.ID, err)
	}
	if len(o.Cgroups) > 0 && !hasCgroup(lc) {
		return 0, fmt.Errorf("add process to container %q: --cgroup: %w", c.ID, ErrNoCgroup)
	}
	process, err := newProcess(ofContainer(c.ID, lc, p))
	if err != nil {
		return 0, err
	}
	process.Env = homeAtExec(c.Init.Pid, process.Env)
	if os.Geteuid() != 0 {
		process.AdditionalGroups = withoutOwn(process.AdditionalGroups, p.User.GID)
	}
	if len(o.Cgroups) > 0 {
		process.SubCgroupPaths = o.Cgroups
	}
	if err := preserve(process, 3, o.PreserveFDs); err != nil {
		return 0, err
	}
	closeSocket, err := connectPidfd(process, o.PidfdSocket)
	if err != nil {
		return 0, err
	}
	defer closeSocket()
	if o.Detach {
		return 0, c.execDetached(lc, process, p.Terminal, o)
	}
	sup := becomeSupervisor()
	defer sup.release()
	sup.process, sup.policy, sup.listens = process, c.Signals, true
	sup.catch()
	<-sup.caught
	if err := sup.hear(); err != nil {
		return 0, err
	}
	err = sup.start(p.Terminal, os.Stdin, os.Stdout, os.Stderr, func() error {
		sup.app, err = c.add(lc, process, o.PidFile)
		sup.words.leave()
		return err
	})
	if err != nil {
		return 0, err
	}
	status := sup.supervise()
	if sup.refused {
		return 0, refusal(fmt.Sprintf("add process to container %q", c.ID), p.Args[0], sup.words.text())
	}
	return status, nil
}

// withoutOwn leaves out the process's own group, which engines repeat among the additional
// groups (Podman 5.8): without root no process may set groups, and it has this one anyway.
func withoutOwn(groups []int, own uint32) []int {
	return slices.DeleteFunc(groups, func(gid int) bool { return gid == int(own) })
}

// checkExec returns an error, before anything is done, if the process cannot be added as
// it is described.
func (c *Container) checkExec(p *specs.Process, o ExecOptions) error {
	if err := checkPidFile(o.PidFile); err != nil {
		return err
	}
	if c.InPlace {
		return nil // execInPlace checks the rest
	}
	if err := checkRlimits(p.Rlimits); err != nil {
		return err
	}
	return c.checkUser(p.User)
}

func (c *Container) execDetached(lc *libcontainer.Container, p *libcontainer.Process, terminal bool, o ExecOptions) error {
	if terminal {
		closeSocket, err := connectConsole(p, o.ConsoleSocket)
		if err != nil {
			return err
		}
		defer closeSocket()
	} else {
		inheritStdio(p)
	}
	stopIgnoringSignals()
	_, err := c.add(lc, p, o.PidFile)
	return err
}

// add starts the process. If its pid cannot be written to the pid file, it is killed.
func (c *Container) add(lc *libcontainer.Container, p *libcontainer.Process, pidFile string) (process.ID, error) {
	if err := withOneProcessor(func() error { return lc.Run(p) }); err != nil {
		return process.ID{}, libcontainerError(fmt.Sprintf("add process to container %q", c.ID), p.Args[0], err)
	}
	pid, err := p.Pid()
	if err != nil {
		return process.ID{}, fmt.Errorf("read pid of process: %w", err)
	}
	if pidFile != "" {
		if err := writePidFile(pidFile, pid); err != nil {
			return process.ID{}, errors.Join(err, p.Signal(os.Kill))
		}
	}
	// If it has ended already, it is a zombie of ours, which still has its pid.
	return process.Identify(pid)
}
