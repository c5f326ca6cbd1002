package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// Start lets a created container's first process become the application, and
// runs the poststart hooks. A hook that fails ends and removes the container. Where
// somebody wants to hear that the application is ready, it returns when it is.
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

// undo takes back a container whose start has failed (runtime.md, Lifecycle, 12). What a
// supervisor has is its business, once it has ended.
func (c *Container) undo() error {
	if c.Supervised {
		return c.end()
	}
	return c.Delete(true)
}

// execute has the first process execute the application, under the lock. The relay
// is nil when nobody wants to hear of its readiness.
func (c *Container) execute() (*relay, error) {
	if err := c.lock(); err != nil {
		return nil, err
	}
	defer c.entry.Unlock()
	if err := c.here(); err != nil {
		return nil, err
	}
	if status := c.Status(); status != entry.Created {
		return nil, fmt.Errorf("%w: it is %s", entry.ErrNotCreated, status)
	}
	lc, err := c.libcontainer()
	if err != nil {
		return nil, err
	}
	relay, err := c.newRelay()
	if err != nil {
		return nil, err
	}
	return relay, lc.Exec()
}

// maxLibcontainerState bounds what is read of libcontainer's state, in bytes.
const maxLibcontainerState = 64 << 20

// libcontainerState is the directory that libcontainer makes for the container.
func (c *Container) libcontainerState() string {
	return filepath.Join(c.entry.File(libcontainerDir), c.entry.Name())
}

// libcontainer loads libcontainer's container. Its state is checked before: it
// opens whatever lies there.
func (c *Container) libcontainer() (*libcontainer.Container, error) {
	if c.InPlace {
		return nil, ErrInPlace
	}
	if _, err := entry.ReadFile(filepath.Join(c.libcontainerState(), "state.json"), maxLibcontainerState); err != nil {
		return nil, err
	}
	return libcontainer.Load(c.entry.File(libcontainerDir), c.entry.Name())
}

// Kill sends the signal to the container's first process; to every process of
// the container when all is set, or when it is SIGKILL and the end of the first
// process would not end the others. The first one gets it first: otherwise a shell that
// waits for the others may have ended by itself. What a first process that has ended left
// in the cgroup can still be reached in these two ways. A container of which nothing runs
// is entry.ErrNotRunning. Signal 0 changes nothing: there is an error or there is none.
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

// restPatience is how long kill goes on finding processes that were forked meanwhile.
const restPatience = time.Second

// killRest signals what outlives the container's first process, and reports whether there
// was anything. By SIGKILL it ends all of it.
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

// rest lists what outlives the container's first process in its cgroup: without a pid
// namespace of its own the others do not end with it.
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

// imposedFile is the part of an entry that tells the supervisor which signal a
// SIGKILL stands for.
const imposedFile = "imposed"

// noteImposed lets the supervisor give the status that the signal would have
// given; without the note it is that of SIGKILL.
func (c *Container) noteImposed(sig unix.Signal) {
	_ = os.WriteFile(c.entry.File(imposedFile), []byte(strconv.Itoa(int(sig))), 0o600)
}

// imposed is the signal that another process noted, 0 when none did.
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

// others lists the container's processes beside the first: those of its pid
// namespace, else those of its cgroup, or of its mount namespace where it was
// launched in place.
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

// endPatience is how long delete waits for processes that got SIGKILL; one in
// an uninterruptible call of a dead file server may take longer.
const endPatience = 10 * time.Second

// Delete removes the container. One that runs is entry.ErrStillRunning, unless force
// kills it first. One that is only created is killed either way, as runc does.
func (c *Container) Delete(force bool) error { return c.delete(force, c.discard) }

// DeleteTask deletes one task of a Slurm step. By create/start Slurm first has
// each task deleted, then asks for the state of the step, and prints the
// runtime's error into the job's output when there is none; so of a container
// made that way a mark stays, while the step goes on, that only a question
// about all its tasks finds.
func (c *Container) DeleteTask(force bool) error {
	return c.delete(force, func() error {
		if c.Output == "" || !c.Daemon.Alive() {
			return c.discard()
		}
		c.Deleted = true
		return c.bury(c.ExitStatus)
	})
}

// delete kills the container where it may, takes down what the launch made,
// and leaves the entry to finish.
func (c *Container) delete(force bool, finish func() error) error {
	err := c.lock()
	if errors.Is(err, entry.ErrBusy) && force {
		// Its launcher hangs, on a dead file server for example.
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

// dismantle undoes libcontainer's part of the launch: cgroups, and poststop
// hooks. A launcher that was killed may have left a first process that our
// record does not know yet.
func (c *Container) dismantle() error {
	lc, err := c.libcontainer()
	if err != nil {
		// It never came to that, it is done, or nothing can be told from it.
		return c.removeCgroups()
	}
	if gaveUpRoot {
		// With root's surroundings none of the user's programs may run. The
		// map is libcontainer's own.
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

// removeCgroups removes those that a killed launcher made; they are empty, since
// the processes of a launch end with it.
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

// destroy lets libcontainer remove its part, and run the poststop hooks.
func (c *Container) destroy(lc *libcontainer.Container) error {
	c.warnOfPoststop(lc)
	return lc.Destroy()
}
