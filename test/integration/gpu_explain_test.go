//go:build integration

package integration

import (
	"strings"
	"testing"
)

// explain: what a task would get, without starting it, called from the directory where it would
// start.
func (g *gpuCluster) explain(t *testing.T) {
	ro := bundle("alice", "ro")
	for _, args := range [][]string{
		{"srun", "-w", "n2", "--gpus=2", "--export=ALL,OCISHIM_EXPLAIN=1", "--container", ro, "look"},
		{"srun", "-w", "n2", "--gpus=2", "ocishim", "explain", "--bundle", ro, "--profile", map[string]string{"run": "hpc", "oci": "oci"}[g.mode]},
	} {
		out := g.said(t, args...)
		want := "\ngpu libraries: NVIDIA driver " + fakeDriver + "\n"
		if g.driver == "none" {
			want = "\n  device     /dev/nvidia5 c 195:5 rw\n"
		}
		if strings.Contains(out, "LOOK") || !strings.Contains(out, want) {
			t.Errorf("%v: %s", args, out)
		}
	}
	if g.driver == "none" {
		return
	}
	out := g.said(t, "srun", "-w", "n2", "--gpus=2", "--export=ALL,OCISHIM_EXPLAIN=verify", "--container", ro, "look")
	if !strings.HasPrefix(out, "libcuda.so.1: ") || !strings.Contains(out, "/libcuda.so."+fakeDriver+" by ") || strings.Contains(out, "[") {
		t.Errorf("verify: %s", out)
	}
}
