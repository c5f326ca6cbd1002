//go:build integration

package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// podmanScript is what a person does with Podman, in namespaces of its own, on images and
// state in memory. It prints what went wrong, and nothing when all is well.
const podmanScript = `
set -u
mount -t tmpfs tmpfs /run
mkdir /run/build
mount --bind "$BUILD" /run/build # wherever the repository lies
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/lib
mkdir -p /run/lock /tmp/p
printf '[containers]\ndefault_ulimits=["nofile=1024:4096","nproc=4096:4096"]\n[engine]\nevents_logger="file"\n' >/tmp/p/conf
export CONTAINERS_CONF=/tmp/p/conf HOME=/tmp/p
podman() { timeout 60 /usr/bin/podman --root /tmp/p/root --runroot /run/p --storage-driver vfs --cgroup-manager cgroupfs --runtime /run/build/bin/ocishim "$@"; }
want() { # EXPECTED WHAT...
	expected=$1; shift
	got=$("$@" 2>&1; echo "status $?")
	[ "$got" = "$expected" ] || printf '%s\n got: %s\nwant: %s\n' "$*" "$got" "$expected"
}
tar --owner=0 --group=0 -C "/run/$BUNDLE/rootfs" -c . | podman import -q - mini >/dev/null || exit

nl='
'
want "hi${nl}status 3" podman run --rm --net=none mini sh -c 'echo hi; exit 3'
echo abc >/tmp/p/in
want "abc${nl}status 0" podman run --rm -i --net=none mini cat </tmp/p/in
want "5${nl}6${nl}status 0" podman run --rm --net=none --user 5:6 mini sh -c 'id -u; id -g'
want "33554432${nl}status 0" podman run --rm --net=none --memory 32m mini sh -c 'cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null || :'
want "status 1" podman run --rm --net=none --read-only mini sh -c 'touch /x 2>/dev/null'
podman run -d --name d --net=none mini sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done' >/dev/null
want "in it${nl}status 6" podman exec d sh -c 'echo in it; exit 6'
want "abc${nl}status 0" podman exec -i d cat </tmp/p/in
podman exec d nothing >/dev/null 2>&1
want "status 127" sh -c "exit $?"
want "d${nl}status 0" podman pause d
want "paused${nl}status 0" podman inspect -f '{{.State.Status}}' d
want "d${nl}status 0" podman unpause d
want "1${nl}status 0" sh -c "$(declare -f podman); podman top d args | grep -c 'trap'"
want "d${nl}status 0" podman stop -t 10 d
want "9${nl}status 0" podman inspect -f '{{.State.ExitCode}}' d
podman rm -f d >/dev/null
pids=
for i in 1 2 3 4 5 6 7 8; do podman run --rm --net=none mini true & pids="$pids $!"; done
for p in $pids; do wait $p || echo "one of eight at once: status $?"; done
left=$(ls -A /run/ocishim/0 2>/dev/null)
[ -z "$left" ] || echo "left behind: $left"
left=$(find /sys/fs/cgroup -type d -path '*/libpod-*' 2>/dev/null | head -3)
[ -z "$left" ] || echo "left behind: cgroup $left"
`

// TestPodman runs real Podman, as root, on ocishim.
func TestPodman(t *testing.T) {
	prepare(t)
	if _, err := os.Stat("/usr/bin/podman"); err != nil {
		skip(t, "podman is not installed: hack/deps test installs it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", podmanScript)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
		"BUILD=" + filepath.Join(repo, "build"), "BUNDLE=" + sourceBundle,
	}
	t.Cleanup(removePodmansCgroup)
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// removePodmansCgroup removes the cgroup that Podman makes for all its containers and
// keeps, unless somebody else's are in it.
func removePodmansCgroup() {
	for range 20 {
		find := exec.Command("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*/libpod_parent*", "-exec", "rmdir", "{}", "+")
		if find.Run() == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
