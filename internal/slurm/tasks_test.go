package slurm

import "testing"

func TestTasksHere(t *testing.T) {
	for env, want := range map[[2]string]int{
		{"4(x3),2", "0"}: 4, {"4(x3),2", "2"}: 4, {"4(x3),2", "3"}: 2, {"4(x3),2", "4"}: 0, {"1", "0"}: 1, {"1,2,3", "1"}: 2,
		{"", "0"}: 0, {"4", ""}: 0, {"4", "-1"}: 0, {"x", "0"}: 0, {"4(x", "0"}: 4, {"0", "0"}: 0, {"4(x0)", "0"}: 0, {"4(x9999999999999999999)", "0"}: 0,
	} {
		e := Environment{"SLURM_STEP_TASKS_PER_NODE": env[0], "SLURM_NODEID": env[1]}
		if got := e.TasksHere(); got != want {
			t.Errorf("%q on node %s: %d, want %d", env[0], env[1], got, want)
		}
	}
}
