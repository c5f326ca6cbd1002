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

// taskFile is the file of an entry that describes what was launched in place.
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

// execInPlace makes this process enter the container's namespaces and become the command.
// Nobody supervises the command either, and it stays in the caller's cgroup. It returns
// only on failure.
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
		// Before entering: the container's /proc may be the image's.
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

// needsSupervisor names the first option that only a process that stays could carry out;
// empty for none.
func needsSupervisor(p *specs.Process, o ExecOptions) string {
	switch {
	case o.Detach:
		return "--detach"
	case o.PidfdSocket != "":
		return "--pidfd-socket"
	case len(o.Cgroups) > 0:
		return "--cgroup"
	case p.Terminal && !isTerminal(os.Stdin):
		return "a terminal, while stdin is not one"
	}
	return ""
}

// namespaces opens the namespaces of a container that was launched in place, once its
// first process is the application: before, its root is not complete.
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

// openNamespaceOf opens a namespace of exactly this process, even if its pid is reused.
// Within execve the kernel closes the task file, and so its lock, a moment before others
// may inspect the process again.
func openNamespaceOf(p process.ID, name string) (*os.File, error) {
	path := "/proc/" + strconv.Itoa(p.Pid) + "/ns/" + name
	for closed := true; ; time.Sleep(100 * time.Microsecond) {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrPermission) && closed {
			closed = isClosed(p)
			continue
		}
		if err == nil && !p.Alive() { // checked after opening: so the pid was still that process's then
			f.Close()
			return nil, entry.ErrNotRunning
		}
		return f, err
	}
}

// awaitApplication waits until the first process has executed the application, which
// releases the lock on the task file. It may have hooks to run first: the wait is bounded
// to some seconds.
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
	return fmt.Errorf("%w: it is still being launched", entry.ErrNotRunning)
}
