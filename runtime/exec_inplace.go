package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// taskFile is the part of an entry that keeps what was launched in place.
const taskFile = "task.json"

func (c *Container) task() (*inplace.Task, error) {
	data, err := entry.ReadFile(c.entry.File(taskFile), maxProcess)
	if err != nil {
		return nil, fmt.Errorf("read task of container %q: %w", c.ID, err)
	}
	t, err := inplace.ReadTask(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", c.ID, err)
	}
	return t, nil
}

// execInPlace has this process enter the container's namespaces and become the
// command: nobody supervises it, either, and it stays in the caller's cgroup. It
// returns only when that fails.
func (c *Container) execInPlace(p *specs.Process, o ExecOptions) error {
	if option := needsSupervisor(p, o); option != "" {
		return fmt.Errorf("add process to container %q: %s: %w", c.ID, option, ErrInPlace)
	}
	first, err := c.task()
	if err != nil {
		return err
	}
	task, err := first.Further(p)
	if err != nil {
		return fmt.Errorf("add process to container %q: %w: %w", c.ID, err, ErrInPlace)
	}
	if err := checkRlimits(p.Rlimits); err != nil {
		return fmt.Errorf("add process to container %q: %w", c.ID, err)
	}
	exe, err := sealedSelf()
	if err != nil {
		return err
	}
	ns, err := c.namespaces()
	if err != nil {
		return fmt.Errorf("add process to container %q: %w", c.ID, err)
	}
	defer ns.Join.Close()
	defer ns.Mounts.Close()
	if o.PidFile != "" {
		if err := writePidFile(o.PidFile, os.Getpid()); err != nil {
			return err
		}
	}
	if err := closeOthersOnExec(o.PreserveFDs, nil); err != nil {
		return err
	}
	if p.OOMScoreAdj != nil {
		// Here, for the container's /proc may be the image's.
		if err := inplace.SetOOMScore(*p.OOMScoreAdj); err != nil {
			return fmt.Errorf("add process to container %q: %w", c.ID, err)
		}
	}
	file, err := task.File("")
	if err != nil {
		return fmt.Errorf("add process to container %q: %w", c.ID, err)
	}
	defer file.Close()
	return fmt.Errorf("add process to container %q: %w", c.ID, inplace.Become(file, ns, exe))
}

// needsSupervisor names what only a process that stays can do; empty for nothing.
func needsSupervisor(p *specs.Process, o ExecOptions) string {
	switch {
	case o.Detach:
		return "--detach"
	case o.PidfdSocket != "":
		return "--pidfd-socket"
	case len(o.Cgroups) > 0:
		return "--cgroup"
	case p.Terminal && !isTerminal(os.Stdin):
		return "a terminal, and stdin is none"
	}
	return ""
}

// namespaces opens those of a container that was launched in place, once its first
// process is the application: before, its root is not built.
func (c *Container) namespaces() (ns inplace.Namespace, err error) {
	if err := c.awaitApplication(); err != nil {
		return ns, err
	}
	if ns.Join, err = openNamespaceOf(c.Init, "user"); err != nil {
		return ns, fmt.Errorf("open its namespaces: %w", err)
	}
	if ns.Mounts, err = openNamespaceOf(c.Init, "mnt"); err != nil {
		ns.Join.Close()
		return ns, fmt.Errorf("open its namespaces: %w", err)
	}
	return ns, nil
}

// openNamespaceOf opens a namespace of the very process. The kernel closes the file of
// the task a moment before it opens the process to others again: within execve.
func openNamespaceOf(p process.ID, name string) (*os.File, error) {
	path := "/proc/" + strconv.Itoa(p.Pid) + "/ns/" + name
	for closed := true; ; time.Sleep(100 * time.Microsecond) {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrPermission) && closed {
			closed = isClosed(p)
			continue
		}
		if err == nil && !p.Alive() { // looked at after the opening: the pid has been that process's all the while
			f.Close()
			return nil, entry.ErrNotRunning
		}
		return f, err
	}
}

// awaitApplication waits until the first process has executed the application, and
// has let the lock go by that; for some seconds at most, for it may have hooks.
func (c *Container) awaitApplication() error {
	f, err := os.OpenFile(c.entry.File(taskFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	defer f.Close()
	for range 5000 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%w: its launch takes long", entry.ErrNotRunning)
}
