//go:build integration

package integration

import (
	"os"
	"strings"
	"testing"
)

// checkpointScript takes a container that counts away and makes it again: it goes on
// with the next number. It prints what went wrong.
const checkpointScript = `
cd "$(mktemp -d)"
mkdir b
jq '.process.args = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"] | .root.path = "/home/alice/bundles/ro/rootfs"' \
	/home/alice/bundles/ro/config.json >b/config.json
await() { for i in $(seq 100); do eval "$*" && return; sleep 0.1; done; echo "not so after 10 s: $*"; exit 1; }
status() { [ "$(ocishim state counter 2>/dev/null | jq -r .status)" = "$1" ]; }
(ocishim create -b b counter </dev/null 2>&1 | cat >before) &
await status created
ocishim start counter
await '[ "$(wc -l <before)" -ge 5 ]'
ocishim checkpoint --leave-running --image-path first counter || cat first/dump.log
status running || echo 'it does not run on'
ocishim checkpoint --image-path images counter || tail -5 images/dump.log
ocishim state counter 2>/dev/null && echo 'it is still there'
(ocishim restore --detach -b b --image-path images counter </dev/null 2>&1 | cat >after) &
await '[ -s after ]'
last=$(tail -n 1 before) next=$(head -n 1 after)
[ "$next" = $((last+1)) ] || echo "after $last comes $next"
status running || echo 'it does not run'
ocishim delete --force counter
# in the foreground its status is that of the application
ocishim restore -b b --image-path images counter </dev/null >again 2>&1 &
await '[ -s again ]'
ocishim kill counter KILL
wait $! || echo "status $?"
ocishim list -q
`

// TestCheckpoint has criu write a container to files, and make it again from them. It
// runs with Debian 13's criu: older ones do not know newer kernels.
func TestCheckpoint(t *testing.T) {
	c := checkpointCluster(t, "checkpoint")
	if out, err := c.asRoot("bash", "-c", checkpointScript); err != nil || strings.TrimSpace(out) != "status 137" {
		t.Errorf("%v: %s", err, out)
	}
}

// checkpointCluster starts a cluster in which criu can work.
func checkpointCluster(t *testing.T, which string) *cluster {
	t.Helper()
	prepare(t)
	col := column{runtime: "ocishim", slurm: "24.11", mode: "run"}
	prepareColumn(t, col)
	c := newCluster(t, col, which)
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		c.view = "hybrid" // criu wants to see every hierarchy that it finds itself in
	}
	t.Cleanup(c.down)
	c.up(t)
	if out, err := c.asRoot("criu", "check"); err != nil {
		t.Logf("criu check: %v: %s", err, out)
	}
	return c
}
