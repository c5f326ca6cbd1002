//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestImageConf runs images and bundles by oci.conf.d/image.conf, where Slurm reads and writes no
// config.json, and shows what this mode cannot do.
func TestImageConf(t *testing.T) {
	prepare(t)
	besideOthers(t)
	for _, slurm := range []string{"24.11", "26.05"} {
		t.Run(slurm, func(t *testing.T) {
			t.Parallel()
			col := column{runtime: "ocishim", slurm: slurm, mode: "image"}
			prepareColumn(t, col)
			c := newCluster(t, col, "conf")
			t.Cleanup(c.down)
			c.up(t)
			c.makeLayout(t)
			c.wantImageConf(t)
			c.wantLimitsOfImageConf(t)
		})
	}
}

// inHome returns a command that runs another in the user's home.
func inHome(args ...string) []string {
	return append([]string{"sh", "-c", `cd && exec "$@"`, "sh"}, args...)
}

func (c *cluster) wantImageConf(t *testing.T) {
	const image = "oci:layout:1" // relative to the job's directory
	c.want(t, "alice", "", 0, "hello\nalice\n/home/alice\n", inHome("srun", "--container", image, "sh", "-c", "echo $GREETING; id -un; pwd")...)

	// The command line is the user's, to the byte, and so are the variables.
	const odd = "two  words|do\"uble||a;b|$HOME|back\\slash|*|lin\nes|--|-x|%j|%%"
	args := append([]string{"env", "ODD=" + odd, "srun", "--container", image, "sh", "-c", `printf "%s|" "$@"; printf %s "$ODD"`, "sh"}, strings.Split(odd, "|")...)
	c.want(t, "alice", "", 0, odd+"|"+odd, inHome(args...)...)
	c.want(t, "alice", "", 0, "7\n", inHome("sh", "-c", "srun --container "+image+" sh -c 'exit 7' 2>/dev/null; echo $?")...)

	// Nothing of slurmd's environment is in the container.
	const counts = "grep -cz ^" + pace.Variable + "= /proc/$(pgrep -o %s)/environ; true"
	if out, err := c.asRoot("sh", "-c", fmt.Sprintf(counts, "slurmd")); err != nil || out != "1\n" {
		t.Fatalf("slurmd has no variable to look for: %v: %s", err, out)
	}
	c.want(t, "alice", "", 0, "0\n", inHome("srun", "--container", image, "sh", "-c", "env | grep -c ^"+pace.Variable+"=; true")...)

	// The batch script runs in the image, with its arguments; the job's variables do not name the image of a step.
	c.want(t, "alice", "#!/bin/sh\necho $GREETING from \"$1\" ${0##*/}\n", 0, "hello from a b slurm_script\n", inHome("sh", "-c",
		`cat >job.sh && sbatch --parsable --wait --container `+image+` --output job.out job.sh "a b" >/dev/null && cat job.out`)...)
	c.want(t, "alice", "#!/bin/sh\nexport SLURM_CONTAINER="+image+"\nsrun --container ./bundle sh -c 'echo ${GREETING:-none} $SLURM_STEP_ID'\n", 0, "none 0\n", inHome("sh", "-c",
		`cat >job.sh && cp -r `+bundle("alice", "ro")+` bundle && sbatch --parsable --wait --output job.out job.sh >/dev/null && cat job.out`)...)

	// Bundles by path, absolute and relative, and a bundle that stands for an image.
	c.want(t, "alice", "", 0, "alice\n", "srun", "--container", bundle("alice", "ro"), "id", "-un")
	c.want(t, "alice", "", 0, "alice\n", inHome("srun", "--container", "./bundle", "id", "-un")...)
	c.want(t, "alice", "", 0, "hello\n", inHome("sh", "-c", "srun --container $(ocishim image stub "+image+") sh -c 'echo $GREETING'")...)

	// Two hosts and four tasks; signals reach the command; nothing is left in Slurm's directories.
	c.want(t, "alice", "", 0, "4\n", inHome("sh", "-c", "srun -N2 -n4 --container "+image+" sh -c 'echo $SLURM_PROCID' | sort -u | wc -l")...)
	c.want(t, "alice", "", 0, "caught\n", inHome("sh", "-c", `srun --container `+image+` sh -c 'trap "echo caught; exit 0" TERM; echo ready >ready; while :; do sleep 0.1; done' 2>/dev/null & until [ -e ready ]; do sleep 0.1; done
		scancel --signal=TERM $(squeue -h -o %i); wait`)...)
	if !pace.Until(10*time.Second, func() bool {
		left, err := filepath.Glob(c.onHost("/var/spool/slurmd/*/*job*"))
		return err == nil && len(left) == 0
	}) {
		t.Errorf("left in Slurm's directories: %v", mustGlob(t, c.onHost("/var/spool/slurmd/*/*job*")))
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantLimitsOfImageConf shows what docs/images.md says about this mode.
func (c *cluster) wantLimitsOfImageConf(t *testing.T) {
	quoted := "it's one"
	status, says := 0, quoted+"\n"
	if c.slurm == "24.11" { // Slurm quotes %@ correctly since 26.05.5
		status, says = 2, "Syntax error: Unterminated quoted string"
	}
	for _, limit := range []struct {
		what    string
		status  int
		says    string
		command []string
	}{
		{"an argument with a single quote", status, says, []string{"srun", "--container", "oci:layout:1", "sh", "-c", `echo "$1"`, "sh", quoted}},
		{"a name with a single quote", 2, "Syntax error: Unterminated quoted string", []string{"srun", "--container", "oci:lay'out:1", "true"}},
		{"a command that only the submitting host has", 127, `execute "/usr/bin/tac"`, []string{"srun", "--container", "oci:layout:1", "tac"}},
		{"an image that does not exist", 125, "no such image 2; there is 1", []string{"srun", "--container", "oci:layout:2", "true"}},
	} {
		ctx, cancel := pace.Context(context.Background(), 30*time.Second)
		cmd := c.command(ctx, "alice", inHome(limit.command...)...)
		out, err := cmd.CombinedOutput()
		cancel()
		if code := cmd.ProcessState.ExitCode(); code != limit.status || !strings.Contains(string(out), limit.says) {
			t.Errorf("%s: status %d (%v), want %d: %s", limit.what, code, err, limit.status, out)
		}
	}
	if left, _ := os.ReadDir(c.onHost("/home/alice/.local/share/ocishim/images/tmp")); len(left) > 0 {
		t.Errorf("left in the store: %v", left)
	}
}
