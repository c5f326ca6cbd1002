package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/slurm"
)

// Only the script of a batch step becomes a mount, and only if it is a file.
func TestBatchScript(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "slurm_script")
	if err := os.WriteFile(script, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(dir, "link", "slurm_script")
	if err := os.MkdirAll(filepath.Dir(linked), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(script, linked); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command string
		env     []string
		mounted bool
	}{
		{script, []string{"SLURM_JOB_ID=1"}, true},
		{script, []string{"SLURM_JOB_ID=1", "SLURM_STEP_ID=-5"}, true},
		{script, []string{"SLURM_JOB_ID=1", "SLURM_STEP_ID=0"}, false},
		{script, nil, false},
		{dir + "/other", []string{"SLURM_JOB_ID=1"}, false},
		{dir + "/nowhere/slurm_script", []string{"SLURM_JOB_ID=1"}, false},
		{linked, []string{"SLURM_JOB_ID=1"}, false},
		{"slurm_script", []string{"SLURM_JOB_ID=1"}, false},
	} {
		spec := &specs.Spec{Process: &specs.Process{Args: []string{c.command}}}
		bindBatchScript(spec, slurm.FromEnv(c.env))
		if got := len(spec.Mounts) == 1 && spec.Mounts[0].Source == c.command && spec.Mounts[0].Destination == c.command; got != c.mounted || !got && len(spec.Mounts) > 0 {
			t.Errorf("%s with %v: mounts %v", c.command, c.env, spec.Mounts)
		}
	}
}
