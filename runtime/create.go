package runtime

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// Create makes the bundle's container and leaves its first process waiting for Start. The
// container gets the caller's stdin, stdout and stderr, as engines expect;
// CreateSupervised is for callers that have none to give.
func Create(s *Store, b *bundle.Bundle, o LaunchOptions) (*Container, error) {
	if b.Spec.Process.Terminal && o.ConsoleSocket == "" {
		return nil, errors.New("create container with a terminal: nobody would hold the terminal; pass --console-socket")
	}
	if !b.Spec.Process.Terminal && o.ConsoleSocket != "" {
		return nil, errors.New("create container: --console-socket is given, but process.terminal is not set")
	}
	stopIgnoringSignals()
	l, err := newLaunch(s, b, o)
	if err != nil {
		return nil, err
	}
	defer l.c.entry.Unlock()
	if err := l.create(); err != nil {
		l.abort()
		return nil, err
	}
	return l.c, nil
}

// A launch is one attempt to make a container run. Its entry is locked until it is done;
// abort undoes what was done so far.
type launch struct {
	c       *Container
	b       *bundle.Bundle
	o       LaunchOptions
	lc      *libcontainer.Container
	process *libcontainer.Process
	mounts  []specs.Mount // with their sources as the user named them
	ofImage []string      // destinations at which parts of the image are mounted by path
	layer   *inplace.Layer
}

// newLaunch sweeps the store, claims the container's id, and returns the launch with its
// entry locked.
func newLaunch(s *Store, b *bundle.Bundle, o LaunchOptions) (*launch, error) {
	if err := errors.Join(mayLaunch(), checkMountNamespace(b.Spec)); err != nil {
		return nil, fmt.Errorf("launch container %q: %w", b.ID, err)
	}
	s.Sweep()
	self, err := process.Identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	r := Record{
		ID:          b.ID,
		Bundle:      b.Dir,
		Rootfs:      b.Rootfs,
		Created:     time.Now().UTC(),
		Annotations: b.Spec.Annotations,
		Boot:        process.BootID(),
		Numbering:   process.Numbering(),
		Launcher:    self,
		Lifetime:    o.Lifetime,
		Signals:     o.Signals,
		Cgroup:      o.Cgroup,

		NotifySocket: o.NotifySocket,
	}
	if o.Watch == WatchSlurmstepd {
		r.Daemon = stepDaemon()
	}
	c, err := s.claim(r)
	if err != nil {
		return nil, err
	}
	return &launch{c: c, b: b, o: o}, nil
}

// prepare checks and plans the launch, and makes libcontainer's container and process.
func (l *launch) prepare() error {
	if err := l.checkRestore(); err != nil {
		return err
	}
	if err := l.withoutLayer(); err != nil {
		return err
	}
	if err := checkInterpreter(l.b); err != nil {
		return err
	}
	if err := checkPidFile(l.o.PidFile); err != nil {
		return err
	}
	warnOfIgnored(l.b.ID, l.b.Spec)
	var err error
	if l.ofImage, err = plan(l.b, l.c.dir(), l.o); err != nil {
		return fmt.Errorf("plan container %q: %w", l.b.ID, err)
	}
	if err := l.check(); err != nil {
		return fmt.Errorf("launch container %q: %w", l.b.ID, err)
	}
	if err := l.prepareProcess(); err != nil {
		return err
	}
	l.mounts = l.b.Spec.Mounts
	if err := enterBundle(l.b); err != nil {
		return err
	}
	l.lc, err = l.c.newContainer(l.b, l.o)
	return err
}

// prepareProcess makes libcontainer's first process. The process that is kept, as the
// model for those that are added later, lacks the edits for the first one.
func (l *launch) prepareProcess() error {
	if err := l.c.keepProcess(l.b.Spec.Process); err != nil {
		return err
	}
	home, err := homeAtLaunch(l.b)
	if err != nil {
		return err
	}
	handed := l.o.ListenFDs + l.o.PreserveFDs
	edits := []bundle.Edit{capabilitiesEdit(l.b), home}
	var pmi *os.File
	if l.o.Descriptors == DescriptorsAndPMI {
		var e bundle.Edit
		e, pmi = pmiEdit(l.b.Spec.Process.Env, handed)
		edits = append(edits, e)
	}
	if err := amend(l.b, edits...); err != nil {
		return err
	}
	if l.process, err = newProcess(l.b.Spec.Process); err != nil {
		return err
	}
	l.process.Init = true
	if err := preserve(l.process, 3, handed); err != nil {
		return err
	}
	if pmi != nil {
		l.process.ExtraFiles = append(l.process.ExtraFiles, pmi)
	}
	return nil
}

// check returns an error if something in the planned spec cannot be done.
func (l *launch) check() error {
	if err := checkMounts(l.b.Spec.Mounts); err != nil {
		return err
	}
	if err := checkRlimits(l.b.Spec.Process.Rlimits); err != nil {
		return err
	}
	return checkLaunchUser(l.b.Spec)
}

// create makes the container for an engine. Nothing supervises it once we return.
func (l *launch) create() error {
	if err := l.prepare(); err != nil {
		return err
	}
	if l.b.Spec.Process.Terminal {
		closeSocket, err := connectConsole(l.process, l.o.ConsoleSocket)
		if err != nil {
			return err
		}
		defer closeSocket()
	} else {
		inheritStdio(l.process)
	}
	return l.start()
}

func inheritStdio(p *libcontainer.Process) {
	p.Stdin, p.Stdout, p.Stderr = os.Stdin, os.Stdout, os.Stderr
}

// start brings the container to the created state and records it.
func (l *launch) start() error {
	closeSocket, err := connectPidfd(l.process, l.o.PidfdSocket)
	if err != nil {
		return err
	}
	defer closeSocket()
	if err := l.bringUp(); err != nil {
		return libcontainerError(fmt.Sprintf("launch container %q", l.b.ID), l.process.Args[0], ofMount(l.mounts, err))
	}
	pid, err := l.process.Pid()
	if err != nil {
		return fmt.Errorf("read pid of container: %w", err)
	}
	l.c.Init, err = process.Identify(pid)
	if err != nil {
		return err
	}
	if err := mountpoints.CheckOfImage(pid, l.c.Rootfs, l.ofImage); err != nil {
		return fmt.Errorf("launch container %q: %w", l.b.ID, err)
	}
	if err := l.c.keepEdits(l.b.Applied); err != nil {
		return err
	}
	if l.o.PidFile != "" {
		if err := writePidFile(l.o.PidFile, pid); err != nil {
			return err
		}
	}
	return l.c.write()
}

// bringUp makes libcontainer start or restore the container.
func (l *launch) bringUp() error {
	if l.o.Restore == nil {
		return withOneProcessor(func() error { return l.lc.Start(l.process) })
	}
	if err := l.lc.Restore(l.process, l.o.Restore); err != nil {
		return criuError(err, l.o.Restore, "restore.log")
	}
	return nil
}

// abort removes what a failed launch left. The entry goes as well, unless its lifetime
// leaves a tombstone, for a cleanup that will ask for it.
func (l *launch) abort() {
	if l.process != nil && l.c.Init.Pid != 0 {
		_ = l.process.Signal(unix.SIGKILL)
		_, _ = l.process.Wait()
	}
	if l.lc != nil {
		_ = l.c.destroy(l.lc)
	}
	if l.o.PidFile != "" && l.c.Init.Pid != 0 {
		_ = os.Remove(l.o.PidFile)
	}
	l.discardLayer()
	if l.o.Lifetime.leavesTombstone() {
		_ = l.c.bury(ExitLaunchFailed)
		return
	}
	_ = l.c.discard()
}

// ExitLaunchFailed is the recorded status of a container that never ran.
const ExitLaunchFailed = 125

// bury turns the entry into a tombstone: its state is `stopped` until delete.
func (c *Container) bury(status int) error {
	c.leaveLayer()
	c.Ended, c.ExitStatus = time.Now().UTC(), status
	for _, name := range []string{libcontainerDir, scaffoldDir, processFile, taskFile} {
		entry.RemoveTree(c.entry.File(name))
	}
	return c.write()
}
