package runtime

import (
	"errors"
	"fmt"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/intelrdt"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"

	"github.com/ocishim/ocishim/internal/entry"
)

// errFixed means that a limit of a running container cannot be changed.
var errFixed = errors.New("cannot be changed while the container runs")

// errNoRdt means that the host, or the container, has no Intel RDT.
var errNoRdt = errors.New("this container has no Intel RDT: the host lacks it, or config.json does not ask for it")

// errIdle means that a container with cpu.idle set cannot get cpu shares.
var errIdle = errors.New("cpu shares cannot be set while cpu.idle is 1: set cpu.idle to 0 first, or in the same call")

// Update changes limits of a running container: those that are set in r and rdt, and no
// others. If libcontainer cannot change one of them, Update fails before it changes any.
func (c *Container) Update(r *specs.LinuxResources, rdt *specs.LinuxIntelRdt) error {
	if err := c.lock(); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	defer c.entry.Unlock()
	if !c.alive() {
		return fmt.Errorf("update container %q: %w", c.ID, entry.ErrNotRunning)
	}
	lc, err := c.libcontainer()
	if err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	for _, field := range ignoredLimits(r) {
		logrus.Warnf("container %q: %s has no effect", c.ID, field)
	}
	config := lc.Config()
	resources := *config.Cgroups.Resources
	if err := change(&resources, r); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	if err := changeRdt(&config, rdt); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	if err := weighIdle(&resources, r.CPU); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	if isIdle(config.Cgroups.Resources) && !isIdle(&resources) {
		// First only cpu.idle: with cgroup v1 libcontainer would set the weight first.
		awake := *config.Cgroups.Resources
		awake.CPUIdle, awake.CpuShares, awake.CpuWeight = resources.CPUIdle, 0, 0
		if err := apply(lc, config, &awake); err != nil {
			return fmt.Errorf("update container %q: %w", c.ID, err)
		}
	}
	if err := apply(lc, config, &resources); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	return nil
}

// apply makes libcontainer set the resources, and remember them.
func apply(lc *libcontainer.Container, config configs.Config, resources *cgroups.Resources) error {
	group := *config.Cgroups
	group.Resources = resources
	// Device rules stay as they are: others may have added some.
	group.SkipDevices = true
	config.Cgroups = &group
	return lc.Set(config)
}

func isIdle(r *cgroups.Resources) bool { return r.CPUIdle != nil && *r.CPUIdle == 1 }

// weighIdle removes the cpu weight of a container with cpu.idle set, which runs only when
// nothing else does. The kernel has dropped its weight, and refuses to set it, which
// libcontainer would try with every later update.
func weighIdle(to *cgroups.Resources, given *specs.LinuxCPU) error {
	if !isIdle(to) {
		return nil
	}
	if given != nil && given.Shares != nil && *given.Shares != 0 {
		return errIdle
	}
	to.CpuShares, to.CpuWeight = 0, 0
	return nil
}

// changeRdt changes the schemata that are set in rdt, if the container was created with some.
func changeRdt(to *configs.Config, rdt *specs.LinuxIntelRdt) error {
	switch {
	case rdt.L3CacheSchema == "" && rdt.MemBwSchema == "":
		return nil
	case rdt.L3CacheSchema != "" && !intelrdt.IsCATEnabled(), rdt.MemBwSchema != "" && !intelrdt.IsMBAEnabled(), to.IntelRdt == nil:
		return errNoRdt
	}
	changed := *to.IntelRdt
	if rdt.L3CacheSchema != "" {
		changed.L3CacheSchema = rdt.L3CacheSchema
	}
	if rdt.MemBwSchema != "" {
		changed.MemBwSchema = rdt.MemBwSchema
	}
	to.IntelRdt = &changed
	return nil
}

// change changes the limits that are set in r.
func change(to *cgroups.Resources, r *specs.LinuxResources) error {
	if !begins(to.Devices, r.Devices) {
		return fmt.Errorf("devices: %w", errFixed)
	}
	if r.Memory != nil {
		changeMemory(to, r.Memory)
	}
	if r.CPU != nil {
		changeCPU(to, r.CPU)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		to.PidsLimit = r.Pids.Limit
	}
	// Earlier ones are dropped: they are applied last, and would undo these changes.
	to.Unified = nil
	if len(r.Unified) > 0 {
		to.Unified = r.Unified
	}
	if r.BlockIO != nil {
		changeBlockIO(to, r.BlockIO)
	}
	if r.Network != nil {
		changeNetwork(to, r.Network)
	}
	changeHugepages(to, r.HugepageLimits)
	changeRdma(to, r.Rdma)
	return nil
}

// begins reports whether the container was made with these device rules, which Podman 5
// repeats in updates. libcontainer keeps the rules of config.json at the beginning.
func begins(have []*devices.Rule, given []specs.LinuxDeviceCgroup) bool {
	if len(given) > len(have) {
		return false
	}
	for i, d := range given {
		rule := devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard}
		rule.Allow, rule.Permissions = d.Allow, devices.Permissions(d.Access)
		if d.Type != "" {
			rule.Type = devices.Type(d.Type[0])
		}
		set(&rule.Major, d.Major)
		set(&rule.Minor, d.Minor)
		if *have[i] != rule {
			return false
		}
	}
	return true
}

// set copies a value, if there is one.
func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func changeMemory(to *cgroups.Resources, m *specs.LinuxMemory) {
	set(&to.Memory, m.Limit)
	set(&to.MemoryReservation, m.Reservation)
	set(&to.MemorySwap, m.Swap)
	set(&to.MemoryCheckBeforeUpdate, m.CheckBeforeUpdate)
	set(&to.OomKillDisable, m.DisableOOMKiller)
	if m.Swappiness != nil {
		to.MemorySwappiness = m.Swappiness
	}
	if m.Limit != nil && *m.Limit == -1 && m.Swap == nil {
		to.MemorySwap = 0 // a swap limit needs a memory limit
	}
}

func changeCPU(to *cgroups.Resources, c *specs.LinuxCPU) {
	set(&to.CpuPeriod, c.Period)
	set(&to.CpuQuota, c.Quota)
	set(&to.CpuRtPeriod, c.RealtimePeriod)
	set(&to.CpuRtRuntime, c.RealtimeRuntime)
	if c.Burst != nil {
		to.CpuBurst = c.Burst
	}
	if c.Idle != nil {
		to.CPUIdle = c.Idle
	}
	if c.Shares != nil {
		to.CpuShares = *c.Shares
		to.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*c.Shares)
	}
	if c.Cpus != "" {
		to.CpusetCpus = c.Cpus
	}
	if c.Mems != "" {
		to.CpusetMems = c.Mems
	}
}
