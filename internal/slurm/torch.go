package slurm

import (
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/bundle"
)

// Torch sets the variables that torch.distributed reads with init_method="env://", from what Slurm
// says about the step, unless the task already has them. Every task of the step gets the same
// address and port.
func Torch(env []string) bundle.Edit {
	e := bundle.Edit{From: "torch", Rule: "hpc.edits"}
	step := FromEnv(env)
	set := func(name, value string) {
		if value != "" {
			e.EnvDefault = append(e.EnvDefault, name+"="+value)
		}
	}
	first := func(names ...string) string {
		for _, name := range names {
			if step[name] != "" {
				return step[name]
			}
		}
		return ""
	}
	set("MASTER_ADDR", firstNode(first("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")))
	set("MASTER_PORT", masterPort(step["SLURM_JOB_ID"], step["SLURM_STEP_ID"]))
	set("WORLD_SIZE", first("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"))
	set("RANK", step["SLURM_PROCID"])
	set("LOCAL_RANK", step["SLURM_LOCALID"])
	return e
}

// firstNode returns the first name in a list such as rack[02-03,7]n[1-4],login.
func firstNode(list string) string {
	var name strings.Builder
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case ',':
			return name.String()
		case '[':
			inner, _, _ := strings.Cut(list[i+1:], "]")
			i += len(inner) + 1
			name.WriteString(inner[:strings.IndexAny(inner+",", ",-")])
		default:
			name.WriteByte(list[i])
		}
	}
	return name.String()
}

// masterPort returns one of twelve thousand ports, below those that a kernel assigns itself
// (ip_local_port_range). Steps of a job that run at the same time on a host get different ones.
func masterPort(job, step string) string {
	const lowest, ports = 20000, 12000
	j, err := strconv.ParseUint(job, 10, 32)
	if err != nil {
		return ""
	}
	s, err := strconv.ParseUint(step, 10, 32)
	if err != nil {
		s = 0
	}
	return strconv.FormatUint(lowest+(j+1009*s)%ports, 10)
}
