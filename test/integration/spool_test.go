//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestSpool runs tasks on Slurm 26.05 with the step's spool directory at the paths that oci.conf
// can set, on the host and in the container, whose image lacks them. By default it has the same
// path in both.
func TestSpool(t *testing.T) {
	prepare(t)
	besideOthers(t)
	col := column{runtime: "ocishim", slurm: "26.05", mode: "run"}
	prepareColumn(t, col)
	c := newCluster(t, col, "spool")
	t.Cleanup(c.down)
	c.up(t)
	conf, err := os.ReadFile(c.oci)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := c.asRoot("install", "-d", "-m", "1777", "/var/tmp/oci"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, test := range map[string]struct{ lines, node, inside string }{
		"default":       {"", "/var/spool/slurmd/n1/oci-job", "/var/spool/slurmd/n1/oci-job"},
		"MountSpoolDir": {"MountSpoolDir=\"/var/run/slurm\"\n", "/var/spool/slurmd/n1/oci-job", "/run/slurm"},
		"ContainerPath": {"ContainerPath=\"/var/tmp/oci/%u\"\n", "/var/tmp/oci/alice/oci-job", "/var/tmp/oci/alice/oci-job"},
		"both": {
			"ContainerPath=\"/var/tmp/oci/%u\"\nMountSpoolDir=\"/mnt/deep/er/%j\"\n",
			"/var/tmp/oci/alice/oci-job", "/mnt/deep/er/",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(c.onHost("/etc/slurm/oci.conf"), append([]byte(test.lines), conf...), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, profile := range []string{"hpc", "oci"} {
				c.wantSpool(t, profile, test.node, test.inside)
			}
			var left []string
			if !pace.Until(settle, func() bool {
				left, _ = filepath.Glob(c.onHost(test.node + "*"))
				return len(left) == 0
			}) {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// wantSpool checks with two tasks that the step's spool directory is mounted once, and that each
// task has its own directory there with its config.json.
func (c *cluster) wantSpool(t *testing.T, profile, node, inside string) {
	t.Helper()
	ctx, cancel := pace.Context(t.Context(), 30*time.Second)
	defer cancel()
	const script = `at=$(grep "$1" /proc/self/mountinfo | cut -d" " -f5); echo "at $at"; [ -s "$at/task-$SLURM_LOCALID/config.json" ] && echo there`
	out, err := c.command(ctx, "alice", "env", "OCISHIM_PROFILE="+profile, "srun", "-w", "n1", "-n2", "--container", bundle("alice", "ro"),
		"bash", "-c", script, "bash", " "+node).CombinedOutput()
	if err != nil || strings.Count(string(out), "there\n") != 2 || strings.Count(string(out), "at "+inside) != 2 || strings.Count(string(out), "\n") != 4 {
		t.Errorf("%s: not mounted at %s: %v\n%s", profile, inside, err, out)
	}
}
