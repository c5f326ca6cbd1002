package doctor

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

func jobChecks() []Check {
	return []Check{
		{"cgroup", "cgroups, for containers by libcontainer", cgroups},
		{"memlock", "locked memory, for fast networks", memlock},
		{"cma", "ranks that copy from each other's memory", crossMemory},
		{"fabric", "device nodes of fast networks", fabric},
		{"devices", "Slurm keeps jobs from others' GPUs", constrained},
	}
}

func cgroups(p *Patient) []Finding {
	for _, m := range p.mounts() {
		if strings.HasPrefix(m.at, "/sys/fs/cgroup") && (m.kind == "cgroup" || m.kind == "cgroup2") {
			return ok(m.kind + " is mounted at " + m.at)
		}
	}
	return found(Warn, "no cgroups are mounted: containers of the profile oci and of engines fail", "mount -t cgroup2 none /sys/fs/cgroup")
}

// hasFabric reports whether the host has InfiniBand or the like.
func (p *Patient) hasFabric() bool {
	return len(p.Host.Names("/dev/infiniband")) > 0 || p.Host.Exists("/dev/cxi0") || p.Host.Exists("/dev/hfi1_0")
}

func memlock(p *Patient) []Finding {
	if !p.Job {
		return skip("not in a job: slurmd's limits are others")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return skip(err.Error())
	}
	if limit.Cur == unix.RLIM_INFINITY {
		return ok("locked memory is unlimited")
	}
	status := Warn
	if p.hasFabric() {
		status = Fail
	}
	return found(status, fmt.Sprintf("locked memory is limited to %d KiB: verbs and libfabric fail, or are slow", limit.Cur>>10),
		"LimitMEMLOCK=infinity in a drop-in of slurmd.service, and PropagateResourceLimitsExcept=MEMLOCK in slurm.conf; limits.conf does not count for services")
}

func crossMemory(p *Patient) []Finding {
	if err := p.Do("cma"); err != nil {
		why, fix := "", "see docs/mpi.md"
		if scope := p.Host.ReadLine("/proc/sys/kernel/yama/ptrace_scope"); scope != "" && scope != "0" {
			why, fix = "; kernel.yama.ptrace_scope is "+scope, "sysctl -w kernel.yama.ptrace_scope=0, unless the site needs it"
		}
		return found(Warn, "two tasks of a step cannot copy from each other's memory: "+err.Error()+why+"; MPI takes a slower way", fix)
	}
	return ok("tasks of a step can copy from each other's memory")
}

func fabric(p *Patient) []Finding {
	if !p.hasFabric() {
		return skip("this host has no /dev/infiniband, /dev/cxi0 or /dev/hfi1_0")
	}
	var nodes []string
	for _, name := range p.Host.Names("/dev/infiniband") {
		if strings.HasPrefix(name, "uverbs") || name == "rdma_cm" {
			nodes = append(nodes, "/dev/infiniband/"+name)
		}
	}
	for _, node := range []string{"/dev/cxi0", "/dev/hfi1_0"} {
		if p.Host.Exists(node) {
			nodes = append(nodes, node)
		}
	}
	if err := p.Do("open", nodes...); err != nil {
		return found(Warn, "user "+p.User+": "+err.Error(), "udev rules of rdma-core make these device nodes 0666")
	}
	return ok("user " + p.User + " can open " + strings.Join(nodes, " "))
}

// constrained opens a GPU that Slurm has not given to the job.
func constrained(p *Patient) []Finding {
	if !p.Job || p.getenv("SLURM_JOB_GPUS")+p.getenv("SLURM_STEP_GPUS") != "" {
		return skip("only a job without GPUs shows it")
	}
	if !p.Host.Exists("/dev/nvidia0") && !p.Host.Exists("/dev/kfd") {
		return skip("this host has no GPUs")
	}
	for _, node := range []string{"/dev/nvidia0", "/dev/kfd"} {
		if p.Host.Exists(node) && p.Do("open", node) == nil {
			return found(Warn, "a job without GPUs can open "+node, "ConstrainDevices=yes in cgroup.conf, and TaskPlugin=task/cgroup")
		}
	}
	return ok("jobs cannot open GPUs that are not theirs")
}
