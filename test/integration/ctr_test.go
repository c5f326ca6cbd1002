//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// ctrPrelude: ctr in a namespace of its own, by which containerd also names the cgroups.
const ctrPrelude = `
BINARY=/run/build/bin/ocishim; [ "$RUNTIME" = ocishim ] || BINARY=$(type -P "$RUNTIME")
ctr() { timeout --foreground $((60 * PACE)) /usr/bin/ctr -n ocishim-ctr "$@"; }
start() { # [OPTION...] ID COMMAND...; the image goes before the ID, as ctr has it
	local options=()
	while [[ $1 == -* ]]; do options+=("$1"); shift; done
	ctr run --runtime io.containerd.runc.v2 --runc-binary "$BINARY" "${options[@]}" docker.io/library/mini:latest "$@"
}
pid() { ctr task ls | awk -v id="${1:-$C}" '$1 == id { print $2 }'; }
status() { ctr task ls | awk -v id="${1:-$C}" '$1 == id { print $3 }'; }
delete() { ctr task delete $C 2>&1 | grep -o 'exit code [0-9]*'; }
`

// ctrScenarios: containerd's own ctr through its runc shim.
var ctrScenarios = []engineScenario{
	{"exit status", `
for s in 0 1 42 255; do start --rm $C sh -c "echo $s; exit $s"; echo "status $?"; done
start --rm $C sh -c 'echo out; echo err >&2' 2>$C.err; cat $C.err`, `
0
status 0
1
status 1
42
status 42
255
status 255
out
err
`},
	{"input", `
head -c 5000000 /dev/urandom >$C.in
cat $C.in | start --rm $C sh -c 'head -c 5000000' | cmp - $C.in && echo the same`, `
the same
`},
	{
		"the process", `
start --rm --env=A='b c' --cwd=/mnt --read-only --cap-add=CAP_SYS_TIME --cap-drop=CAP_CHOWN --net-host $C sh -c 'exec 2>&1
echo "$A $PWD"; touch /x; grep -e CapEff -e NoNewPrivs /proc/self/status; readlink /proc/self/ns/net' >$C.out
head -4 $C.out; [ "$(tail -1 $C.out)" = "$(readlink /proc/self/ns/net)" ] && echo host net
mkdir $C; echo mounted >$C/f
start --rm --mount=type=bind,src=/tmp/$C,dst=/d,options=rbind:ro --seccomp $C sh -c 'cat /d/f; grep Seccomp: /proc/self/status'`,
		"b c /mnt\ntouch: cannot touch '/x': Read-only file system\nCapEff:\t00000000aa0425fa\nNoNewPrivs:\t1\nhost net\nmounted\nSeccomp:\t2\n",
	},
	{"no such command", `
start --rm $C nothere 2>&1 | grep -c 'OCI runtime create failed: .*"nothere".*executable file not found in $PATH: unknown'; echo "status ${PIPESTATUS[0]}"
start --rm $C /etc/passwd 2>&1 | grep -c 'OCI runtime create failed: .*"/etc/passwd".*permission denied: unknown'
ctr containers ls -q | grep -x $C; ctr tasks ls -q | grep -x $C`, `
1
status 1
1
`},
	{"task exec", `
start -d $C sleep 1000; until_says RUNNING status
ctr task exec --exec-id a $C sh -c 'echo $(cat /proc/1/comm); exit 5'; echo "status $?"
echo input | ctr task exec --exec-id b $C cat
ctr task exec --exec-id c --cwd /mnt --user 5:6 $C sh -c 'pwd; id -u; id -g'
ctr task exec -d --exec-id d $C sleep 1051; until_says 1 pgrep -c -x -f 'sleep 1051'
ctr task ps $C | awk 'NR > 1' | wc -l
ctr task exec --exec-id e $C nothere 2>&1 | grep -c 'OCI runtime exec failed: .*"nothere".*executable file not found'
ctr task exec --exec-id f $C sh -c 'kill -9 $$'; echo "status $?"`, `
sleep
status 5
input
/mnt
5
6
2
1
status 137
`},
	{"kill and delete", `
start -d $C sh -c 'trap "exit 9" TERM; trap "echo usr1 >/f" USR1; echo ready >/f; while :; do sleep 0.1; done'
says() { ctr task exec --exec-id $RANDOM $C cat /f; }
until_says ready says
ctr task kill -s USR1 $C; until_says usr1 says
ctr task delete $C 2>&1 | grep -o 'must be stopped' | head -1
ctr task kill $C; until_says STOPPED status; delete
ctr task kill $C 2>&1 | grep -c 'not found'
ctr task start -d $C; until_says RUNNING status
ctr task kill -s KILL $C; until_says STOPPED status; delete`, `
must be stopped
exit code 9
1
exit code 137
`},
	{"kill all", `
start -d $C sh -c 'setsid sleep 1061 & setsid sleep 1061 & wait'; until_says 2 pgrep -c -x -f 'sleep 1061'
ctr task kill --all -s KILL $C; until_says STOPPED status; pgrep -x -f 'sleep 1061'; delete`, `
exit code 137
`},
	{"pause and resume", `
start -d $C sh -c 'while :; do echo tick >>/f; sleep 0.05; done'; until_says RUNNING status
ticks() { wc -l <"/proc/$(pid)/root/f"; }
more() { [ "$(ticks)" -gt "$before" ] && echo goes on; }
before=0; until_says 'goes on' more
ctr task pause $C; status; before=$(ticks)
sleep $QUIET; [ "$(ticks)" = "$before" ] && echo stands still
ctr task resume $C; status
until_says 'goes on' more && echo goes on`, `
PAUSED
stands still
RUNNING
goes on
`},
	{"limits and metrics", `
start -d --memory-limit=33554432 --cpu-quota=50000 --cpu-period=100000 $C sleep 1000; until_says RUNNING status
cat /sys/fs/cgroup/memory/ocishim-ctr/$C/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/ocishim-ctr/$C/memory.max
cat /sys/fs/cgroup/cpu/ocishim-ctr/$C/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/ocishim-ctr/$C/cpu.max
ctr task metrics $C | grep -c -e '^memory.usage_in_bytes  *[1-9]' -e '^memory.usage  *[1-9]'
ctr task exec --exec-id a $C tail /dev/zero; echo "status $?"`, `
33554432
50000
1
status 137
`},
	{"ten at once", `
for i in $(seq 10); do (out=$(start --rm $C-$i sh -c "echo $i; exit $i"); echo "$i $out $?") & done | sort -n | paste -sd,; wait`, `
1 1 1,2 2 2,3 3 3,4 4 4,5 5 5,6 6 6,7 7 7,8 8 8,9 9 9,10 10 10
`},
	{"shim killed", `
start -d $C sh -c 'sleep 1071 & sleep 1071'; until_says 2 pgrep -c -x -f 'sleep 1071'
kill -9 $(pgrep -f "containerd-shim-runc-v2 .*-id $C")
none() { pgrep -c -x -f 'sleep 1071'; ls -d /sys/fs/cgroup/{,*/}ocishim-ctr/$C 2>/dev/null | wc -l; ls /run/containerd/runc/ocishim-ctr/$C 2>/dev/null | wc -l; }
until_says "0
0
0" none && echo nothing left`, `
nothing left
`},
}

// TestContainerd runs real containerd, as root, on ocishim.
func TestContainerd(t *testing.T) {
	e := newEngine(t)
	t.Run("table", func(t *testing.T) {
		var table []engineScenario
		for _, sc := range ctrScenarios {
			sc.script = ctrPrelude + sc.script + ctrCleanup
			table = append(table, sc)
		}
		e.sideBySide(t, table)
		t.Run("at_a_terminal", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := pace.Context(context.Background(), time.Minute)
			defer cancel()
			s := e.atTerminal(ctx, t, "terminal", ctrPrelude+`start --rm --tty $C bash --norc -i; exit $?`)
			s.works()
			s.send("exit 5\r")
			s.ends(5)
		})
		t.Run("exec_at_a_terminal", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := pace.Context(context.Background(), time.Minute)
			defer cancel()
			s := e.atTerminal(ctx, t, "exec-terminal", ctrPrelude+`start -d $C sleep 1000 </dev/null; until_says RUNNING status
ctr task exec --tty --exec-id a $C bash --norc -i; s=$?`+ctrCleanup+`; exit $s`)
			s.works()
			s.send("exit 5\r")
			s.ends(5)
		})
	})
	if !t.Failed() {
		e.nothingLeft(t, "/netns/default$")
	}
}

// ctrCleanup removes what the scenario left running.
const ctrCleanup = `
{ ctr task kill --all -s KILL $C && until_says STOPPED status; ctr task delete $C; ctr container delete $C; } >/dev/null 2>&1`
