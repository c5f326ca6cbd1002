package runtime

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/opencontainers/runc/libcontainer/exeseal"
	"github.com/opencontainers/runc/libcontainer/utils"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// WhyNotInPlace says, for people, why a container needs libcontainer; it is empty if the
// container can be launched in place.
func WhyNotInPlace(b *bundle.Bundle, o LaunchOptions) string {
	switch {
	case !o.InPlace:
		return "its profile is not hpc"
	case os.Geteuid() == 0:
		return "root's containers need a supervisor"
	case o.Restore != nil:
		return "it is restored"
	case o.NoPivot:
		return "--no-pivot"
	case o.SystemdCgroup:
		return "--systemd-cgroup"
	case o.ConsoleSocket != "":
		return "--console-socket"
	case o.PidfdSocket != "":
		return "--pidfd-socket"
	case o.NotifySocket != "":
		return "NOTIFY_SOCKET"
	case b.Spec.Process.Terminal && !isTerminal(os.Stdin):
		return "it asks for a terminal, but stdin is not one"
	}
	return inplace.Supports(b.Spec)
}

// runInPlace makes the container from this process, which becomes the application. It
// returns only on failure.
func runInPlace(s *Store, b *bundle.Bundle, o LaunchOptions) error {
	l, err := newLaunch(s, b, o)
	if err != nil {
		return err
	}
	defer l.c.entry.Unlock()
	err = l.become()
	l.abort()
	return err
}

func (l *launch) become() error {
	if err := checkInterpreter(l.b); err != nil {
		return err
	}
	if err := checkPidFile(l.o.PidFile); err != nil {
		return err
	}
	if err := l.planInPlace(); err != nil {
		return fmt.Errorf("plan container %q: %w", l.b.ID, err)
	}
	task, err := l.newTask()
	if err != nil {
		return fmt.Errorf("plan container %q: %w", l.b.ID, err)
	}
	if err := l.c.keepEdits(l.b.Applied); err != nil {
		return err
	}
	exe, err := sealedSelf()
	if err != nil {
		return err
	}
	file, err := task.File(l.c.entry.File(taskFile)) // before anybody can ask for it
	if err != nil {
		return err
	}
	defer file.Close()
	l.c.Init, l.c.InPlace, l.c.SharedBy = l.c.Launcher, true, l.o.SharedBy
	if err := l.c.write(); err != nil {
		return err
	}
	if l.o.PidFile != "" {
		if err := writePidFile(l.o.PidFile, l.c.Init.Pid); err != nil {
			return err
		}
	}
	if err := closeOthersOnExec(l.o.ListenFDs+l.o.PreserveFDs, l.b.Spec.Process.Env); err != nil {
		return err
	}
	ns, err := l.userNamespace()
	if err != nil {
		return err
	}
	ns.Trees = slices.Collect(maps.Values(l.b.FileMounts))
	if l.b.RootMount != nil {
		ns.Trees = append(ns.Trees, l.b.RootMount)
	}
	err = inplace.Become(file, ns, exe)
	for _, f := range []*os.File{ns.Join, ns.Step} {
		if f != nil {
			f.Close()
		}
	}
	return fmt.Errorf("launch container %q: %w", l.b.ID, err)
}

// sealedSelf returns a copy of our executable that nobody can write to, or nil if the
// caller cannot write to the executable itself, as should be the case. Otherwise an image
// could make us execute /proc/self/exe, while another of its processes opens that file to
// write (CVE-2019-5736).
func sealedSelf() (*os.File, error) {
	const self = "/proc/self/exe"
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", self, err)
	}
	if int(st.Uid) != os.Geteuid() && unix.Access(self, unix.W_OK) != nil {
		return nil, nil
	}
	exe, err := exeseal.CloneSelfExe("")
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", self, err)
	}
	return exe, nil
}

// planInPlace applies the edits that the launch needs, as plan does for libcontainer. The
// image is never written to.
func (l *launch) planInPlace() error {
	b := l.b
	if err := foreseeInPlace(b); err != nil {
		return err
	}
	if l.o.ListenFDs > 0 {
		listening := bundle.Edit{From: "systemd", Env: listenVariables(l.o.ListenFDs, os.Getpid())}
		if err := amend(b, listening); err != nil {
			return err
		}
	}
	if err := inject(b, l.c.dir(), true); err != nil {
		return err
	}
	_, err := addMountPoints(b, l.c.dir(), mountpoints.Options{Strict: true})
	return err
}

func (l *launch) newTask() (*inplace.Task, error) {
	task, err := inplace.NewTask(l.b, l.c.Rootfs)
	if err != nil {
		return nil, err
	}
	if l.b.RootMount != nil {
		task.Mount = int(l.b.RootMount.Fd())
	}
	if len(task.CreateContainer)+len(task.StartContainer) > 0 {
		task.State = &specs.State{
			Version: specs.Version, ID: l.b.ID, Pid: l.c.Launcher.Pid, Bundle: l.b.Dir, Annotations: l.b.Spec.Annotations,
		}
	}
	if d := l.c.Daemon; d.Pid != 0 && d.Pid == os.Getppid() {
		task.Parent = d.Pid
	}
	if l.o.Lifetime == UntilEnd {
		task.Entry, task.Gone = l.c.dir(), l.c.entry.GoneName()
	}
	return task, nil
}

// userNamespace returns the user namespace that the tasks of a step share; any other
// container gets a new one.
func (l *launch) userNamespace() (inplace.Namespace, error) {
	if l.o.SharedBy == "" {
		return inplace.Namespace{}, nil
	}
	return l.c.store.namespaceOf(l.o.SharedBy, l.c.Launcher)
}

// closeOthersOnExec marks all descriptors to be closed on exec, except for those that we are
// to pass on: count descriptors from 3 on, and the one for MPI that Slurm names in a
// variable. The caller's descriptors stay open across exec; all others are ours.
func closeOthersOnExec(count int, env []string) error {
	var keep []int
	for fd := 3; fd < 3+count; fd++ {
		if !passed(fd) {
			return fmt.Errorf("preserve descriptor %d: %w", fd, unix.EBADF)
		}
		keep = append(keep, fd)
	}
	for _, entry := range env {
		if fd, ok := pmiDescriptor(entry); ok {
			keep = append(keep, fd)
		}
	}
	if err := utils.CloseExecFrom(3); err != nil {
		return fmt.Errorf("close descriptors on exec: %w", err)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("preserve descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// passed reports whether the descriptor came from our caller.
func passed(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}
