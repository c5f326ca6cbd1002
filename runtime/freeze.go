package runtime

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// Pause stops every process of the container by freezing its cgroup.
func (c *Container) Pause() error { return c.freeze("pause", (*libcontainer.Container).Pause) }

// Resume lets the processes of a paused container continue.
func (c *Container) Resume() error { return c.freeze("resume", (*libcontainer.Container).Resume) }

func (c *Container) freeze(verb string, do func(*libcontainer.Container) error) error {
	if err := c.lock(); err != nil {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, err)
	}
	defer c.entry.Unlock()
	if !c.alive() {
		return fmt.Errorf("%s container %q: %w", verb, c.ID, entry.ErrNotRunning)
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

// paused reports whether the container's cgroup is frozen. The caller's cgroup does not
// count: Slurm freezes it to suspend the whole task. If the record does not say which
// cgroup that is, libcontainer's state does, which is many times as long.
func (c *Container) paused(load func() (*libcontainer.Container, error)) bool {
	if c.Cgroup == CallersCgroup {
		return false
	}
	if c.Cgroups[freezerKey()] != "" {
		m, err := manager.NewWithPaths(&cgroups.Cgroup{Resources: &cgroups.Resources{}}, c.Cgroups)
		if err != nil {
			return false
		}
		state, err := m.GetFreezerState()
		return err == nil && state == cgroups.Frozen
	}
	lc, err := load()
	if err != nil {
		return false
	}
	status, err := lc.Status()
	return err == nil && status == libcontainer.Paused
}

// freezerKey is the key, in Record.Cgroups, of the directory with the freezer.
func freezerKey() string {
	if cgroups.IsCgroup2UnifiedMode() {
		return ""
	}
	return "freezer"
}

// thaw thaws a paused container, so that the signal that ends it takes effect: on cgroup
// v1 even SIGKILL does not end a frozen process. It does the same for the cgroups below,
// which another runtime in the container may have made and frozen.
func (c *Container) thaw() {
	if c.Cgroup == CallersCgroup {
		return
	}
	lc, err := c.libcontainer()
	if err != nil {
		return
	}
	if status, err := lc.Status(); err == nil && status == libcontainer.Paused {
		_ = lc.Resume()
	}
	if state, err := lc.State(); err == nil {
		thawBelow(state.CgroupPaths["freezer"])
	}
}

// maxThawed is how many cgroups below a container's own are looked at, at most.
const maxThawed = 10_000

// thawBelow thaws the cgroups in a directory of cgroup v1. With v2 there is no need: frozen
// processes can be killed.
func thawBelow(dir string) {
	if dir == "" || cgroups.IsCgroup2UnifiedMode() {
		return
	}
	seen := 0
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if seen++; err != nil || seen > maxThawed {
			return fs.SkipAll
		}
		if !entry.IsDir() {
			seen--
			return nil
		}
		if state, err := cgroups.ReadFile(path, "freezer.self_freezing"); err == nil && strings.TrimSpace(state) == "1" {
			_ = cgroups.WriteFile(path, "freezer.state", string(cgroups.Thawed))
		}
		return nil
	})
}

// whyAlive says why a process may outlive SIGKILL; empty if the reason is unknown.
func whyAlive(pid int) string {
	if groups, err := cgroups.ParseCgroupFile("/proc/" + strconv.Itoa(pid) + "/cgroup"); err == nil {
		dir := filepath.Join(cgroupRoot, "freezer", groups["freezer"])
		if state, err := cgroups.ReadFile(dir, "freezer.state"); err == nil && strings.TrimSpace(state) != string(cgroups.Thawed) {
			return ", because the cgroup " + dir + ", which is not the container's, is frozen"
		}
	}
	if st, err := process.ReadStat(pid); err == nil && st.State == 'D' {
		return ", because it waits in the kernel"
	}
	return ""
}

// Pids lists the container's processes, including the first one. If that has ended, Pids
// lists the processes that outlived it.
func (c *Container) Pids() ([]int, error) {
	if err := c.here(); err != nil {
		return nil, fmt.Errorf("list processes of container %q: %w", c.ID, err)
	}
	pids := []int{}
	others := c.rest
	if c.alive() {
		pids = append(pids, c.Init.Pid)
		others = func() []process.ID { return c.others(hasOwnPidNamespace(c.Init.Pid)) }
	}
	for _, p := range others() {
		pids = append(pids, p.Pid)
	}
	return pids, nil
}
