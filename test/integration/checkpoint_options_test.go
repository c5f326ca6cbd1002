//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkpointFunctions are shared by the scripts of checkpointOptions. The container is called c,
// and runs a script; each step prints only what is wrong.
const checkpointFunctions = `
cd "$(mktemp -d)"
runs() { ocishim ps c -o pid,args | grep -q "^ *[0-9]* $1$"; }
status() { [ "$(ocishim state c 2>/dev/null | jq -r .status)" = "$1" ]; }
forever='while :; do sleep 0.1; done'
bundle() {
	mkdir -p b
	jq --arg s "$1" '.process.args = ["bash", "-c", $s] | .root.path = "/root/checkpoint/rootfs"' /root/checkpoint/config.json >b/config.json
}
begin() { # SCRIPT [CONDITION]; it is where it will stay
	bundle "$1"
	(ocishim create -b b c </dev/null 2>&1 | cat >out) &
	await status created
	ocishim start c
	await "${2:-runs 'sleep 0.1'}"
}
checkpoint() { timeout $LIMIT ocishim checkpoint --image-path images "$@" c; }
refused() { # WORDS OPTION...
	local words=$1
	shift
	checkpoint "$@" >err 2>&1 && echo "not refused: $*"
	says "$words" err
	rm -rf images
}
says() { grep -qF -- "$1" "$2" || { echo "no '$1' in:"; cat "$2"; }; } # WORDS FILE
restore() {
	(timeout $LIMIT ocishim restore -d -b b --image-path images "$@" c </dev/null 2>&1 | cat >again) &
	await 'status running || grep -qs "ocishim: error" again'
	status running || cat again
}
# a jump out of here leaves nothing
trap 'kill $(jobs -p) 2>/dev/null; wait; timeout $LIMIT ocishim delete --force c' EXIT
`

// checkpointOptions are scripts that print nothing if the option has its effect.
var checkpointOptions = []struct{ option, script string }{
	{"work-path", `
		begin "$forever"
		checkpoint --work-path work --leave-running
		[ -s work/dump.log ] && ! [ -e images/dump.log ] || ls work images
		checkpoint --work-path work
		restore --work-path work
		[ -s work/restore.log ] || ls work`},
	{"file-locks", `
		begin 'touch /dev/shm/lock; exec flock /dev/shm/lock sleep 600' "runs 'sleep 600'"
		refused 'Some file locks are hold by dumping tasks'
		checkpoint --file-locks
		restore --file-locks
		ocishim exec c flock --nonblock /dev/shm/lock true && echo 'the lock is lost'
		ocishim exec c flock --nonblock /dev/shm/other true`},
	{"link-remap", `
		begin 'touch /tmp/a; ln /tmp/a /tmp/b; exec 3</tmp/a; rm /tmp/a; while :; do sleep 0.1; done'
		refused "Can't create link remap for /tmp/a"
		checkpoint --link-remap
		restore
		[ "$(ocishim exec c readlink /proc/1/fd/3)" = '/tmp/a (deleted)' ] || ocishim exec c ls -l /proc/1/fd
		ocishim exec c rm /tmp/b`},
	{"manage-cgroups-mode", `
		for mode in soft full ignore; do
			begin "$forever"
			checkpoint --manage-cgroups-mode $mode
			restore --manage-cgroups-mode $mode
			ocishim delete --force c
			rm -rf images
		done
		begin "$forever"
		checkpoint --manage-cgroups-mode strict
		timeout $LIMIT ocishim restore -d -b b --image-path images --manage-cgroups-mode strict c </dev/null >again 2>&1
		says 'Abort restore of existing cgroups' again`},
	{"pre-dump and parent-path", `
		begin "$forever"
		if criu check --feature mem_dirty_track >/dev/null 2>&1; then
			timeout $LIMIT ocishim checkpoint --pre-dump --image-path before c
			status running || echo 'it does not run on'
			checkpoint --parent-path ../before --auto-dedup
			[ -e images/parent ] || ls -l images
			restore --auto-dedup
		else # the kernel does not tell which memory has changed
			refused 'criu is missing features: [MemTrack]' --pre-dump
			status running || echo 'it does not run on'
			timeout $LIMIT ocishim checkpoint --leave-running --image-path before c
			refused 'Tracking memory is not available' --parent-path ../before
			status running || echo 'it does not run on'
		fi`},
	{"page-server", `
		begin "$forever"
		mkdir pages
		timeout $LIMIT criu page-server --images-dir pages --address 127.0.0.1 --port 12345 >server 2>&1 </dev/null &
		await 'grep -q ":3039 00000000:0000 0A" /proc/net/tcp' # 12345, listening
		checkpoint --page-server 127.0.0.1:12345
		ls images | grep pages-
		cp pages/pagemap-* pages/pages-* images
		restore`},
	{"terminal", `
		bundle 'i=0; while :; do i=$((i+1)); echo $i $(tty); sleep 0.1; done'
		jq '.process.terminal = true' b/config.json >next && mv next b/config.json
		timeout $LIMIT script -fqc 'ocishim run -b b c' first >log 2>&1 </dev/null &
		await 'grep -qs "^3 /dev/pts/0" first'
		checkpoint --shell-job
		timeout $LIMIT script -fqc 'ocishim restore --shell-job -b b --image-path images c' second >log 2>&1 </dev/null &
		await 'grep -qs "^[0-9]* /dev/pts/0" second'
		last=$(grep -a -o '[0-9]* /dev/pts/0' first | tail -n 1) next=$(grep -a -o '[0-9]* /dev/pts/0' second | head -n 1)
		[ "${next% *}" = $((${last% *}+1)) ] || echo "after $last comes $next"`},
	{"tcp-established", `
		begin 'exec connected tcp' '[ -s out ]'
		checkpoint >first 2>&1 && echo 'not refused'
		rm -rf images
		# from 6.16 on the kernel does not say of TCP what criu 4.1 asks of every socket
		grep -q "Can't get 1:16 opt: Operation not supported" first && exit
		says 'Connected TCP socket, consider using --tcp-established option' first
		checkpoint --tcp-established --tcp-skip-in-flight --empty-ns network
		restore --tcp-established --empty-ns network
		await '[ "$(wc -l <again)" -ge 3 ]'
		[ "$(head -n 1 again)" = $(($(tail -n 1 out)+1)) ] || tail -n 1 out again`},
	{"ext-unix-sk", `
		mkdir outside
		timeout $LIMIT /root/checkpoint/rootfs/usr/bin/connected - outside/socket >heard 2>&1 &
		await '[ -S outside/socket ]'
		bundle 'exec connected /mnt/socket'
		jq --arg d "$PWD/outside" '.mounts += [{"destination": "/mnt", "type": "bind", "source": $d, "options": ["rbind"]}]
			| .linux.namespaces |= map(select(.type != "network"))' b/config.json >next
		mv next b/config.json
		(ocishim create -b b c </dev/null 2>&1 | cat >out) &
		await status created
		ocishim start c
		await '[ -s heard ]'
		refused 'External socket is used. Consider using --ext-unix-sk option'
		checkpoint --ext-unix-sk
		[ -e images/inventory.img ] || ls images`},
	{"lsm-profile and lsm-mount-context", `
		begin "$forever"
		checkpoint
		timeout $LIMIT ocishim restore -d -b b --image-path images --lsm-profile bogus c </dev/null >again 2>&1
		says 'invalid argument bogus for --lsm-profile' again
		restore --lsm-mount-context system_u:object_r:container_file_t:s0`},
	{"lazy-pages and status-fd", `
		begin "$forever"
		timeout $LIMIT ocishim checkpoint --image-path images --lazy-pages --status-fd 99 c >err 2>&1
		says 'invalid --status-fd argument 99' err
		timeout $LIMIT ocishim checkpoint --image-path lazy --lazy-pages --page-server 127.0.0.1:12346 --status-fd 9 c 9>ready >log 2>&1 </dev/null &
		await '[ "$(od -An -tx1 ready)" = " 00" ]' # it waits for whom to send the pages to
		kill -0 $! || echo 'nobody serves the pages'`},
}

// TestCheckpointOptions uses each option of checkpoint and restore, and checks its effect.
func TestCheckpointOptions(t *testing.T) {
	c := checkpointCluster(t, "checkpoint-options")
	mustRun(t, "hack/bundle", "--writable", "--with", "/usr/bin/flock", "build/checkpoint-bundle")
	program := exec.Command("go", "build", "-o", filepath.Join(repo, "build/checkpoint-bundle/rootfs/usr/bin"), "./testdata/connected")
	program.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := program.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(repo, "build/checkpoint-bundle"), c.root+"/root/checkpoint").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, o := range checkpointOptions {
		t.Run(o.option, func(t *testing.T) {
			if out, err := c.checkpointScript(checkpointFunctions + o.script + "\ntrue"); err != nil || strings.TrimSpace(out) != "" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
