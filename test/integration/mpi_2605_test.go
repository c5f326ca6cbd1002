//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestMPI2605 runs MPICH bare and in containers on Slurm 26.05, whose Debian build has PMI2 and no
// PMIx, and Slurm's own commands in a container there.
func TestMPI2605(t *testing.T) {
	if !pace.All() {
		t.Skip("make test-all runs it: its root takes minutes to make")
	}
	prepare(t)
	prepareColumn(t, column{runtime: "ocishim", slurm: "26.05"})
	mustRun(t, "hack/cluster", "root", "--slurm", "26.05", "--mpi")
	m := newMPICluster(t, "ocishim", "26.05")
	for _, mc := range mpiCases {
		if mc.mpi == "mpich" {
			t.Run(mc.String(), func(t *testing.T) { m.compare(t, mc) })
		}
	}
	t.Run("process_vm_readv", func(t *testing.T) { m.readEachOther(t, 4) })
	t.Run("slurm_inside", m.slurmInside2605)
}

// slurmInside2605 calls Slurm's commands and MUNGE from an image that has neither.
func (m *mpiCluster) slurmInside2605(t *testing.T) {
	dir := m.onHost("/etc/ocishim")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte("hpc.edits = ['slurm', 'munge']\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.inside(t, "root", "bash", "/opt/bundle", "--with", debianLib+"libresolv.so.2", "--with", debianLib+"libm.so.6", "/home/alice/small")
	const script = `set -e
		squeue --noheader --format=%i-%u --jobs=$SLURM_JOB_ID
		scontrol show hostnames 'n[1-2]'
		srun --overlap --nodes=1 --ntasks=2 sh -c 'echo nested $SLURM_STEP_ID.$SLURM_PROCID'
		[ -S /run/munge/munge.socket.2 ] && echo munged`
	args := m.srun("none", 1, 1, false, "")
	args = append(args[:len(args)-1], "--container", "/home/alice/small", "sh", "-c", script)
	out, bad, err := m.try("alice", args...)
	nested := regexp.MustCompile(`(?m)^nested \d+\.[01]$`).FindAllString(out, -1)
	if err != nil || len(nested) != 2 || !strings.Contains(out, m.job+"-alice\n") || !strings.Contains(out, "n1\nn2\n") || !strings.Contains(out, "munged\n") {
		t.Errorf("%v\n%s%s", err, out, bad)
	}
}
