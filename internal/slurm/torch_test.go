package slurm

import (
	"slices"
	"strings"
	"testing"
)

func TestTorch(t *testing.T) {
	env := strings.Fields("SLURM_JOB_ID=41 SLURM_STEP_ID=2 SLURM_JOB_NODELIST=n[1-3] SLURM_STEP_NODELIST=n[2-3] SLURM_NTASKS=8 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=3 SLURM_LOCALID=1")
	want := strings.Fields("MASTER_ADDR=n2 MASTER_PORT=22059 WORLD_SIZE=4 RANK=3 LOCAL_RANK=1")
	if got := Torch(env).EnvDefault; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Torch(nil).EnvDefault; len(got) > 0 {
		t.Errorf("outside of a job: %v", got)
	}
	another := Torch(append(env, "SLURM_STEP_ID=3")).EnvDefault
	if slices.Equal(another[1:2], want[1:2]) {
		t.Error("two steps of a job have one port")
	}
}

func TestFirstNode(t *testing.T) {
	for list, want := range map[string]string{
		"n1": "n1", "n1,n2": "n1", "n[1-3,7],m": "n1", "n[007,9]": "n007", "rack[02-03]n[1-4]": "rack02n1", "n[1-2]-ib": "n1-ib", "": "", "n[": "n", "n[1": "n1",
	} {
		if got := firstNode(list); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}
