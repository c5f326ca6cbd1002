package slurm

import (
	"strconv"
	"strings"
)

// TasksHere returns how many tasks a step has on this host, by SLURM_STEP_TASKS_PER_NODE, such as
// "4(x3),2", and SLURM_NODEID (srun(1)); 0 if that is not known.
func (e Environment) TasksHere() int {
	node, err := strconv.Atoi(e["SLURM_NODEID"])
	if err != nil || node < 0 {
		return 0
	}
	for group := range strings.SplitSeq(e["SLURM_STEP_TASKS_PER_NODE"], ",") {
		count, times, _ := strings.Cut(group, "(x")
		tasks, err := strconv.Atoi(count)
		if err != nil || tasks < 1 {
			return 0
		}
		nodes := 1
		if times != "" {
			if nodes, err = strconv.Atoi(strings.TrimSuffix(times, ")")); err != nil || nodes < 1 {
				return 0
			}
		}
		if node < nodes {
			return tasks
		}
		node -= nodes
	}
	return 0
}
