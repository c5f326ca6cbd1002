package runtime

import (
	"fmt"

	"github.com/opencontainers/runc/libcontainer"
)

// Pause stops every process of the container, by its cgroup.
func (c *Container) Pause() error { return c.freeze("pause", (*libcontainer.Container).Pause) }

// Resume lets the processes of a paused container go on.
func (c *Container) Resume() error { return c.freeze("resume", (*libcontainer.Container).Resume) }

func (c *Container) freeze(verb string, do func(*libcontainer.Container) error) error {
	if err := c.lockPatiently(); err != nil {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, err)
	}
	defer c.unlock()
	if !c.alive() {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, ErrNotRunning)
	}
	lc, err := c.libcontainer()
	if err != nil {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, err)
	}
	if !hasCgroup(lc) {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, ErrNoCgroup)
	}
	if err := do(lc); err != nil {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, err)
	}
	return nil
}

// paused tells whether the container's cgroup is frozen. A Slurm task has none:
// Slurm suspends it by its own.
func (c *Container) paused() bool {
	if c.Step {
		return false
	}
	lc, err := c.libcontainer()
	if err != nil {
		return false
	}
	status, err := lc.Status()
	return err == nil && status == libcontainer.Paused
}

// thaw lets a paused container take the signal that ends it: on cgroup v1 a
// frozen process does not even die of SIGKILL.
func (c *Container) thaw() {
	if !c.paused() {
		return
	}
	if lc, err := c.libcontainer(); err == nil {
		_ = lc.Resume()
	}
}

// Pids lists the container's processes, its first among them.
func (c *Container) Pids() ([]int, error) {
	if !c.alive() {
		return nil, fmt.Errorf("list processes of container %q: %w", c.ID, ErrNotRunning)
	}
	pids := []int{c.Init.Pid}
	for _, p := range c.others(hasOwnPidNamespace(c.Init.Pid)) {
		pids = append(pids, p.Pid)
	}
	return pids, nil
}
