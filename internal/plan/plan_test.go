package plan

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/profile"
)

func task(t *testing.T, env ...string) *bundle.Bundle {
	t.Helper()
	return &bundle.Bundle{Rootfs: t.TempDir(), Spec: &specs.Spec{Process: &specs.Process{Args: []string{"true"}, Cwd: "/", Env: env}}}
}

func TestEditsFollowTheProfile(t *testing.T) {
	for name, want := range map[string]int{config.ProfileHPC: 1, config.ProfileOCI: 0} {
		edits, err := Edits(task(t), profile.Request{
			Config: config.Default(), Choice: profile.Choice{Name: name},
			Exists: func(string) bool { return false }, InImage: func(string) bool { return false },
		})
		if err != nil || len(edits) != want {
			t.Errorf("%s: %d edits, %v", name, len(edits), err)
		}
	}
}

// Who asks for no GPU gets none, and who asks on a node without is told so.
func TestGPUsOfNodeWithout(t *testing.T) {
	node := t.TempDir()
	edits, warnings, err := GPUs(task(t, "PATH=/bin"), node)
	if err != nil || len(edits)+len(warnings) > 0 {
		t.Errorf("not asked: %v, %v, %v", edits, warnings, err)
	}
	edits, warnings, err = GPUs(task(t, "SLURM_STEP_GPUS=0,1"), node)
	if err != nil || len(edits) > 0 || !strings.Contains(strings.Join(warnings, "\n"), "no device of a GPU is to be found") {
		t.Errorf("asked: %v, %v, %v", edits, warnings, err)
	}
}
