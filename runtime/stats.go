package runtime

import (
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/intelrdt"
	"github.com/opencontainers/runc/types"
)

// runcStats converts libcontainer's statistics to the format that `runc events` prints
// (runc, types/events.go) and containerd's shim reads.
func runcStats(s *libcontainer.Stats) *types.Stats {
	out := &types.Stats{Hugetlb: map[string]types.Hugetlb{}, NetworkInterfaces: s.Interfaces}
	if s.IntelRdtStats != nil {
		out.IntelRdt = rdtStats(s.IntelRdtStats)
	}
	cg := s.CgroupStats
	if cg == nil {
		return out
	}
	out.CPU = cpuStats(cg.CpuStats)
	out.CPUSet = types.CPUSet(cg.CPUSetStats)
	out.Memory = memoryStats(cg.MemoryStats)
	out.Pids = types.Pids{Current: cg.PidsStats.Current, Limit: cg.PidsStats.Limit}
	out.Blkio = blkioStats(cg.BlkioStats)
	for size, pages := range cg.HugetlbStats {
		out.Hugetlb[size] = types.Hugetlb{Usage: pages.Usage, Max: pages.MaxUsage, Failcnt: pages.Failcnt}
	}
	return out
}

func cpuStats(c cgroups.CpuStats) types.Cpu {
	return types.Cpu{
		Usage: types.CpuUsage{
			Total:        c.CpuUsage.TotalUsage,
			Kernel:       c.CpuUsage.UsageInKernelmode,
			User:         c.CpuUsage.UsageInUsermode,
			Percpu:       c.CpuUsage.PercpuUsage,
			PercpuKernel: c.CpuUsage.PercpuUsageInKernelmode,
			PercpuUser:   c.CpuUsage.PercpuUsageInUsermode,
		},
		Throttling: types.Throttling{
			Periods:          c.ThrottlingData.Periods,
			ThrottledPeriods: c.ThrottlingData.ThrottledPeriods,
			ThrottledTime:    c.ThrottlingData.ThrottledTime,
		},
		PSI: c.PSI,
	}
}

func memoryStats(m cgroups.MemoryStats) types.Memory {
	entry := func(d cgroups.MemoryData) types.MemoryEntry {
		return types.MemoryEntry{Limit: d.Limit, Usage: d.Usage, Max: d.MaxUsage, Failcnt: d.Failcnt}
	}
	return types.Memory{
		Cache:     m.Cache,
		Usage:     entry(m.Usage),
		Swap:      entry(m.SwapUsage),
		Kernel:    entry(m.KernelUsage),
		KernelTCP: entry(m.KernelTCPUsage),
		Raw:       m.Stats,
		PSI:       m.PSI,
	}
}

func blkioStats(b cgroups.BlkioStats) types.Blkio {
	entries := func(from []cgroups.BlkioStatEntry) []types.BlkioEntry {
		to := make([]types.BlkioEntry, len(from))
		for i, e := range from {
			to[i] = types.BlkioEntry(e)
		}
		return to
	}
	return types.Blkio{
		IoServiceBytesRecursive: entries(b.IoServiceBytesRecursive),
		IoServicedRecursive:     entries(b.IoServicedRecursive),
		IoQueuedRecursive:       entries(b.IoQueuedRecursive),
		IoServiceTimeRecursive:  entries(b.IoServiceTimeRecursive),
		IoWaitTimeRecursive:     entries(b.IoWaitTimeRecursive),
		IoMergedRecursive:       entries(b.IoMergedRecursive),
		IoTimeRecursive:         entries(b.IoTimeRecursive),
		SectorsRecursive:        entries(b.SectorsRecursive),
		PSI:                     b.PSI,
	}
}

// rdtStats converts the statistics of Intel RDT, and leaves out what the host cannot measure.
func rdtStats(r *intelrdt.Stats) types.IntelRdt {
	out := types.IntelRdt{Schemata: r.Schemata}
	if intelrdt.IsCATEnabled() {
		if r.L3CacheInfo != nil {
			info := types.L3CacheInfo(*r.L3CacheInfo)
			out.L3CacheInfo = &info
		}
		out.L3CacheSchemaRoot, out.L3CacheSchema = r.L3CacheSchemaRoot, r.L3CacheSchema
	}
	if intelrdt.IsMBAEnabled() {
		if r.MemBwInfo != nil {
			info := types.MemBwInfo(*r.MemBwInfo)
			out.MemBwInfo = &info
		}
		out.MemBwSchemaRoot, out.MemBwSchema = r.MemBwSchemaRoot, r.MemBwSchema
	}
	if intelrdt.IsMBMEnabled() {
		out.MBMStats = r.MBMStats
	}
	if intelrdt.IsCMTEnabled() {
		out.CMTStats = r.CMTStats
	}
	return out
}
