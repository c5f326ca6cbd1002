//go:build integration

package integration

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// checkpointScript checkpoints a container that counts, and restores it: it continues with the next
// number. It prints what went wrong.
const checkpointScript = `
cd "$(mktemp -d)"
mkdir b
jq '.process.args = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"] | .root.path = "/home/alice/bundles/ro/rootfs"' \
	/home/alice/bundles/ro/config.json >b/config.json
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
await status running # the application may be quicker than what notes it
last=$(tail -n 1 before) next=$(head -n 1 after)
[ "$next" = $((last+1)) ] || echo "after $last comes $next"
ocishim delete --force counter
# in the foreground its status is that of the application
ocishim restore -b b --image-path images counter </dev/null >again 2>&1 &
await '[ -s again ]'
await status running
ocishim kill counter KILL
wait $! || echo "status $?"
ocishim list -q
`

// criuProbe uses criu without ocishim: it dumps and restores a process, and prints an error if that
// fails.
const criuProbe = `
cd "$(mktemp -d)"
( # with no descriptor of whoever called us
	for fd in $(ls /proc/$BASHPID/fd); do [ "$fd" -le 2 ] || eval "exec $fd>&-"; done
	exec setsid sleep 1000 </dev/null >/dev/null 2>&1
) &
pid=$!
disown # no word from bash when it is killed
trap 'env kill -KILL $pid 2>/dev/null' EXIT
await '[ "$(cat /proc/$pid/comm)" = sleep ]'
tries() { # COMMAND...; its log is in log
	timeout --kill-after=1 $LIMIT "$@" --log-file log >/dev/null 2>&1 && return
	echo "$*: status $? (124: it hangs): $(tail -n 2 log | tr '\n' ' ')"
	exit
}
tries criu dump --tree $pid --images-dir .
await '! env kill -0 $pid 2>/dev/null'
tries criu restore --images-dir . --restore-detached
`

// checkpointScript runs a script as root. The script can wait; LIMIT is the time in seconds after
// which its commands count as hung.
func (c *cluster) checkpointScript(script string) (string, error) {
	ctx, cancel := pace.Context(context.Background(), 2*time.Minute)
	defer cancel()
	const await = `await() { for i in $(seq $((100 * PACE))); do eval "$*" && return; sleep 0.1; done; echo "never so: $*"; exit 1; }
`
	limit := "LIMIT=" + pace.Seconds(15*time.Second) + "\n"
	out, err := c.command(ctx, "root", "bash", "-c", shellPace()+limit+await+script).CombinedOutput()
	return string(out), err
}

// TestCheckpoint makes criu write a container to files, and restore it from them. It runs with the
// criu of Debian 13: older versions do not know newer kernels.
func TestCheckpoint(t *testing.T) {
	c := checkpointCluster(t, "checkpoint")
	if out, err := c.checkpointScript(checkpointScript); err != nil || strings.TrimSpace(out) != "status 137" {
		t.Errorf("%v: %s", err, out)
	}
}

// checkpointCluster starts a cluster in which criu works. If criu does not, because the kernel is
// too new for it, the test is skipped with a message; if criu is missing, that is a failure on CI.
func checkpointCluster(t *testing.T, which string) *cluster {
	t.Helper()
	prepare(t)
	besideOthers(t)
	col := column{runtime: "ocishim", slurm: "24.11", mode: "run"}
	prepareColumn(t, col)
	c := newCluster(t, col, which)
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		c.view = "hybrid" // criu needs to see every hierarchy that it is in
	}
	t.Cleanup(c.down)
	c.up(t)
	version, err := c.asRoot("criu", "--version")
	if err != nil {
		skip(t, "criu is missing: hack/deps test installs it")
	}
	if out, err := c.asRoot("criu", "check"); err != nil {
		t.Logf("criu check: %v: %s", err, out)
	}
	if out, err := c.checkpointScript(criuProbe); err != nil || out != "" {
		t.Skipf("criu does not work on this machine, without a container of ocishim's: %s: %s %v", strings.Fields(version)[1], strings.TrimSpace(out), err)
	}
	return c
}
