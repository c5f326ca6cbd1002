package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// Start makes a created container's first process become the application, and runs the
// poststart hooks. If a hook fails, Start ends and removes the container. With a
// NotifySocket, Start returns once the application is ready.
func (c *Container) Start() error {
	relay, err := c.execute()
	if relay != nil {
		defer relay.close()
	}
	if err != nil {
		return fmt.Errorf("start container %q: %w", c.ID, err)
	}
	// Hooks may take their time: delete must not wait for them.
	if err := c.runPoststart(); err != nil {
		if undone := c.undo(); undone != nil {
			logrus.Warnf("container %q: %v", c.ID, undone)
		}
		return fmt.Errorf("start container %q: %w", c.ID, err)
	}
	if relay == nil {
		return nil
	}
	if err := relay.awaitReady(c.Init); err != nil {
		return fmt.Errorf("start container %q: %w", c.ID, err)
	}
	return nil
}

// undo removes a container whose start has failed (runtime.md, Lifecycle, 12). If it has a
// supervisor, undo only ends it: the supervisor removes it then.
func (c *Container) undo() error {
	if c.Supervised {
		return c.end()
	}
	return c.Delete(true)
}

// execute makes the first process execute the application, under the lock. The relay is nil
// if nobody asked to be notified when the application is ready.
func (c *Container) execute() (*relay, error) {
	if err := c.lock(); err != nil {
		return nil, err
	}
	defer c.entry.Unlock()
	if err := c.here(); err != nil {
		return nil, err
	}
	load := sync.OnceValues(c.libcontainer)
	if status := c.status(load); status != entry.Created {
		return nil, fmt.Errorf("%w: it is %s", entry.ErrNotCreated, status)
	}
	lc, err := load()
	if err != nil {
		return nil, err
	}
	relay, err := c.newRelay()
	if err != nil {
		return nil, err
	}
	return relay, lc.Exec()
}

// maxLibcontainerState is how many bytes of libcontainer's state are read at most.
const maxLibcontainerState = 64 << 20

// libcontainerState returns the directory that libcontainer makes for the container.
func (c *Container) libcontainerState() string {
	return filepath.Join(c.entry.File(libcontainerDir), c.entry.Name())
}

// libcontainer loads libcontainer's container. It checks the state file first, since
// libcontainer opens whatever it finds there.
func (c *Container) libcontainer() (*libcontainer.Container, error) {
	if c.InPlace {
		return nil, ErrInPlace
	}
	if _, err := entry.ReadFile(filepath.Join(c.libcontainerState(), "state.json"), maxLibcontainerState); err != nil {
		return nil, err
	}
	return libcontainer.Load(c.entry.File(libcontainerDir), c.entry.Name())
}

// Kill sends the signal to the container's first process. It sends the signal to every
// process of the container if all is set, or if it is SIGKILL and the end of the first
// process would not end the others. The first process gets it first: a shell that waits for
// the others would otherwise end by itself. Processes in the cgroup that outlived the first
// one are reached with all or SIGKILL as well. If nothing runs, Kill returns
// entry.ErrNotRunning. Signal 0 only checks whether a signal could be sent.
func (c *Container) Kill(sig unix.Signal, all bool) error {
	if err := c.here(); err != nil {
		return fmt.Errorf("kill container %q: %w", c.ID, err)
	}
	if !c.alive() {
		if (all || sig == unix.SIGKILL) && c.killRest(sig) {
			return nil
		}
		return fmt.Errorf("kill container %q: %w", c.ID, entry.ErrNotRunning)
	}
	var others []process.ID
	if own := hasOwnPidNamespace(c.Init.Pid); all || sig == unix.SIGKILL && !own {
		others = c.others(own)
	}
	err := c.signal(sig)
	for _, p := range others {
		_ = p.Signal(sig)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("kill container %q: %w", c.ID, err)
	}
	if sig == unix.SIGKILL {
		c.thaw()
	}
	return nil
}

// restPatience is how long kill looks for processes that were forked in the meantime.
const restPatience = time.Second

// killRest signals the processes that outlived the container's first one, and reports
// whether there were any. With SIGKILL it repeats until none are left.
func (c *Container) killRest(sig unix.Signal) bool {
	found := false
	for deadline := time.Now().Add(restPatience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		rest := c.rest()
		for _, p := range rest {
			_ = p.Signal(sig)
		}
		found = found || len(rest) > 0
		if sig != unix.SIGKILL || len(rest) == 0 {
			break
		}
		c.thaw()
	}
	return found
}

// rest lists the processes in the container's cgroup that outlived the first one: without a
// pid namespace of the container's own they do not end with it.
func (c *Container) rest() []process.ID {
	if c.launching() || !c.sameBoot() || c.InPlace {
		return nil
	}
	return slices.DeleteFunc(c.others(false), func(p process.ID) bool { return !p.Alive() })
}

func (c *Container) signal(sig unix.Signal) error {
	if sig == 0 {
		return c.Init.Signal(sig)
	}
	if !c.waiting() {
		awaitExec(c.Init)
	}
	if c.Signals == SignalsAsSent {
		return c.Init.Signal(sig)
	}
	sent := effective(c.Init, sig)
	if sent == unix.SIGKILL && sig != sent {
		c.noteImposed(sig)
	}
	return c.Init.Signal(sent)
}

// imposedFile is the file of an entry with the signal that a SIGKILL of ours stands for. The
// supervisor reads it.
const imposedFile = "imposed"

// noteImposed notes the signal, so that the supervisor returns its status and not the
// status of SIGKILL.
func (c *Container) noteImposed(sig unix.Signal) {
	_ = os.WriteFile(c.entry.File(imposedFile), []byte(strconv.Itoa(int(sig))), 0o600)
}

// imposed returns the signal that another process noted, 0 if none did.
func (c *Container) imposed() unix.Signal {
	data, err := entry.ReadFile(c.entry.File(imposedFile), 8)
	if err != nil {
		return 0
	}
	sig, err := ParseSignal(string(data))
	if err != nil {
		return 0
	}
	return sig
}

// others lists the container's processes except for the first one. It finds them by the
// container's pid namespace if it has its own; otherwise by its cgroup, or, if it was
// launched in place, by its mount namespace.
func (c *Container) others(ownNamespace bool) []process.ID {
	var pids []int
	if ownNamespace {
		pids = sharing(c.Init, "pid")
	} else if c.InPlace {
		pids = sharing(c.Init, "mnt")
	} else if lc, err := c.libcontainer(); err == nil {
		pids, _ = lc.Processes()
	}
	var found []process.ID
	for _, pid := range pids {
		if p, err := process.Identify(pid); err == nil && pid != c.Init.Pid && pid != os.Getpid() {
			found = append(found, p)
		}
	}
	return found
}

// endPatience is how long delete waits for processes that got SIGKILL. One that waits for a
// dead file server, uninterruptibly, may take longer.
const endPatience = 10 * time.Second

// Delete removes the container. If it runs, Delete returns entry.ErrStillRunning, or with
// force kills it first. A created container that was not started is killed without force as
// well, as with runc.
func (c *Container) Delete(force bool) error { return c.delete(force, c.discard) }

// DeleteTask deletes one task of a Slurm step. With create and start, Slurm first deletes
// each task, then asks for the state of the step, and prints the runtime's error to the
// job's output if there is no state. So, while the step goes on, such a container leaves a
// tombstone that is found only when all tasks of the step are asked for.
func (c *Container) DeleteTask(force bool) error {
	return c.delete(force, func() error {
		if c.Output == "" || !c.Daemon.Alive() {
			return c.discard()
		}
		c.Deleted = true
		return c.bury(c.ExitStatus)
	})
}

// delete kills the container if it may, undoes the launch, and calls finish to deal with
// the entry.
func (c *Container) delete(force bool, finish func() error) error {
	err := c.lock()
	if errors.Is(err, entry.ErrBusy) && force {
		// Its launcher hangs, for example on a dead file server.
		_ = c.Launcher.Signal(unix.SIGKILL)
		err = c.lock()
	}
	if errors.Is(err, entry.ErrNotFound) {
		return nil // another delete was faster
	}
	if err != nil {
		return fmt.Errorf("delete container %q: %w", c.ID, err)
	}
	defer c.entry.Unlock()
	if err := c.here(); err != nil {
		return fmt.Errorf("delete container %q: %w", c.ID, err)
	}
	if c.alive() {
		if !force && !c.waiting() {
			return fmt.Errorf("delete container %q: %w", c.ID, entry.ErrStillRunning)
		}
		if err := c.end(); err != nil {
			return fmt.Errorf("delete container %q: %w", c.ID, err)
		}
	}
	if err := c.dismantle(); err != nil {
		return fmt.Errorf("delete container %q: %w", c.ID, err)
	}
	return finish()
}

// end kills the container and waits until its first process is gone.
func (c *Container) end() error {
	for deadline := time.Now().Add(endPatience); ; time.Sleep(time.Millisecond) {
		if err := c.Kill(unix.SIGKILL, false); err != nil && !errors.Is(err, entry.ErrNotRunning) {
			return err
		}
		if !c.alive() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d did not end %v after SIGKILL%s: %w", c.Init.Pid, endPatience, whyAlive(c.Init.Pid), ErrStuck)
		}
	}
}

// dismantle undoes libcontainer's part of the launch: it removes cgroups and runs poststop
// hooks. A launcher that was killed may have left a first process that is not in our record
// yet.
func (c *Container) dismantle() error {
	lc, err := c.libcontainer()
	if err != nil {
		// libcontainer never got that far, is done already, or its state is unreadable.
		return c.removeCgroups()
	}
	if gaveUpRoot {
		// No program of the user's may run with root's cgroup and limits. The map is
		// libcontainer's own, so this is enough.
		delete(lc.Config().Hooks, configs.Poststop)
	}
	if c.Init.Pid == 0 && c.sameBoot() {
		state, err := lc.State()
		if err != nil {
			return err
		}
		c.Init = process.ID{Pid: state.InitProcessPid, Start: state.InitProcessStartTime}
		if err := c.end(); err != nil {
			return err
		}
	}
	return c.destroy(lc)
}

// removeCgroups removes the cgroups that a killed launcher made. They are empty, since the
// processes of a launch end with the launcher.
func (c *Container) removeCgroups() error {
	if len(c.Cgroups) == 0 || gaveUpRoot {
		return nil
	}
	m, err := manager.NewWithPaths(&cgroups.Cgroup{Resources: &cgroups.Resources{}}, c.Cgroups)
	if err != nil {
		return err
	}
	return m.Destroy()
}

// destroy makes libcontainer remove its part, and run the poststop hooks.
func (c *Container) destroy(lc *libcontainer.Container) error {
	c.warnOfPoststop(lc)
	return lc.Destroy()
}
