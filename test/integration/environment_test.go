//go:build integration

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// environmentFile is what alice has as ~/.edf/env.toml.
const environmentFile = `image = "oci:/home/alice/layout:1"
mounts = ["${PLACE}:/data:ro", "tmpfs:/mem"]

[env]
ADDED = "${GREETING} and ${FROM_JOB}"
PATH = "${PATH}:/custom"
`

// wantEnvironments uses an environment file in each way, with the same result: the image wins over
// the job, the file over both, and the job's PATH and loader do not break the image.
func (c *cluster) wantEnvironments(t *testing.T) {
	const setUp = `mkdir -p .edf place && echo here >place/file && cat >.edf/env.toml && cp .edf/env.toml env.toml`
	c.want(t, "alice", environmentFile, 0, "", inHome("sh", "-c", setUp)...)
	const job = `export FROM_JOB=job GREETING=job PLACE=/home/alice/place LD_LIBRARY_PATH=/home/alice/nowhere LD_PRELOAD= APPTAINER_DOCKER_PASSWORD=secret; `
	const says = `sh -c 'echo "$GREETING|$FROM_JOB|$ADDED|$PATH|${LD_LIBRARY_PATH-none}|${APPTAINER_DOCKER_PASSWORD-none}|$(cat /data/file)|$(pwd)|${SLURM_JOB_ID:+a job}"'`
	const want = "hello|job|hello and job|/usr/bin:/bin:/custom|none|none|here|/home/alice|a job\n"
	for _, way := range []string{
		"srun ocishim run-image env", "srun ocishim run-image ./env.toml", "srun ocishim run-image /home/alice/env.toml",
		"srun --container=env", "srun --container=./env.toml", "srun --container=/home/alice/env.toml",
	} {
		c.want(t, "alice", "", 0, want, inHome("sh", "-c", job+way+" "+says)...)
	}
	c.want(t, "alice", "#!/bin/sh\n"+says+"\n", 0, want, inHome("sh", "-c",
		job+`cat >job.sh && sbatch --parsable --wait --container=env --output job.out job.sh >/dev/null && cat job.out`)...)
	c.want(t, "alice", "", 0, "/mem\n", inHome("sh", "-c", job+"OCISHIM_WORKDIR=/mem srun --container=env sh -c pwd")...)

	// The hosts are fit, as tasks see them, and the same.
	c.want(t, "alice", "", 0, "2 hosts are the same\n", inHome("sh", "-c",
		`srun -N2 sh -c 'ocishim doctor --json program userns state oci.conf cma memlock >report-$SLURM_NODEID' && ocishim doctor --compare report-*`)...)

	ctx, cancel := pace.Context(context.Background(), 30*time.Second)
	defer cancel()
	out, err := c.command(ctx, "alice", inHome("sh", "-c", `sed s/mounts/mouts/ env.toml >wrong.toml; srun --container=./wrong.toml true`)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "wrong.toml:2:1: mouts: unknown key; did you mean mounts?") || strings.Contains(string(out), "Task launch") {
		t.Errorf("an environment with a mistake: %v: %s", err, out)
	}
}
