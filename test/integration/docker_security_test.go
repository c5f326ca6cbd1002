//go:build integration

package integration

import (
	"context"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// dockerSecurity: what confines a container's processes, and what relaxes that.
var dockerSecurity = []engineScenario{
	{"capabilities", `
caps() { run --rm "$@" mini grep Cap /proc/self/status | paste -sd' ' | tr -s '\t ' ' '; }
caps
caps --cap-drop ALL
caps --cap-drop ALL --cap-add NET_ADMIN
caps --cap-add SYS_ADMIN --cap-drop CHOWN
caps --user 1000`, `
CapInh: 0000000000000000 CapPrm: 00000000a80425fb CapEff: 00000000a80425fb CapBnd: 00000000a80425fb CapAmb: 0000000000000000
CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 CapBnd: 0000000000000000 CapAmb: 0000000000000000
CapInh: 0000000000000000 CapPrm: 0000000000001000 CapEff: 0000000000001000 CapBnd: 0000000000001000 CapAmb: 0000000000000000
CapInh: 0000000000000000 CapPrm: 00000000a82425fa CapEff: 00000000a82425fa CapBnd: 00000000a82425fa CapAmb: 0000000000000000
CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 CapBnd: 00000000a80425fb CapAmb: 0000000000000000
`},
	{"a capability dropped is missed", `
run --rm mini hostname x 2>&1
run --rm --cap-drop DAC_OVERRIDE --user 0 mini sh -c 'touch /home/alice 2>/dev/null; mkdir /p; chmod 0 /p; touch /p/x 2>&1'`, `
hostname: you must be root to change the host name
touch: cannot touch '/p/x': Permission denied
`},
	{"seccomp default and off", `
run --rm mini grep Seccomp: /proc/self/status
run --rm --security-opt seccomp=unconfined mini grep Seccomp: /proc/self/status
run --rm --cap-add SYS_ADMIN mini mount -t tmpfs tmpfs /mnt && echo mounted`, "" +
		"Seccomp:\t2\nSeccomp:\t0\nmounted\n"},
	{"seccomp profile", `
echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
	{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"},
	{"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
	{"names": ["setpriority"], "action": "SCMP_ACT_KILL_PROCESS"}]}' >$C.json
run --rm --security-opt seccomp=/tmp/$C.json mini sh -c 'exec 2>&1; mkdir /x; ln -s a /y; touch /z && echo touched'
run -d --security-opt seccomp=/tmp/$C.json mini sleep 1000 >/dev/null
docker exec $C mkdir /x; echo "status $?"`, `
mkdir: cannot create directory '/x': Operation not permitted
ln: failed to create symbolic link '/y': No space left on device
touched
mkdir: cannot create directory '/x': Operation not permitted
status 1
`},
	{"no new privileges", `
run --rm mini grep NoNewPrivs /proc/self/status
run --rm --security-opt no-new-privileges mini grep NoNewPrivs /proc/self/status`, "" +
		"NoNewPrivs:\t0\nNoNewPrivs:\t1\n"},
	{"masked and read-only paths", `
run --rm mini sh -c 'exec 2>&1
for p in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/acpi /proc/scsi /proc/asound /sys/firmware; do
	if [ -d $p ]; then ls -A $p; elif [ -e $p ]; then wc -c <$p; fi
done | grep -vx 0; echo masked
(: >/proc/sys/kernel/domainname)
cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; mkdir x'
run --rm mini grep -c ' /proc/sys ' /proc/mounts
run --rm --security-opt systempaths=unconfined mini grep -c -e ' /proc/keys ' -e ' /proc/sys ' /proc/mounts`, `
masked
sh: 5: cannot create /proc/sys/kernel/domainname: Read-only file system
mkdir: cannot create directory 'x': Read-only file system
1
0
`},
}

// dockerPrivileged: --privileged gives everything that root itself has.
var dockerPrivileged = []engineScenario{
	{"privileged", `
run --rm --privileged mini sh -c '
grep CapEff /proc/self/status | cut -f2; grep -e NoNewPrivs -e Seccomp: /proc/self/status | cut -f2
[ -c /dev/kmsg ] && echo a device; : >/dev/kmsg && echo writable
mount -t tmpfs tmpfs /mnt && echo mounted; : >/proc/sys/kernel/domainname && echo sys writable' >$C.out
grep -qx "$(head -1 $C.out)" <(grep CapBnd /proc/1/status | cut -f2) && echo all capabilities
tail -n +2 $C.out`, `
all capabilities
0
0
a device
writable
mounted
sys writable
`},
	{"exec privileged", `
run -d --cap-drop ALL mini sleep 1000 >/dev/null
[ "$(docker exec --privileged $C grep CapEff /proc/self/status | cut -f2)" = "$(grep CapBnd /proc/1/status | cut -f2)" ] && echo all capabilities
run --rm --name $C-2 --cap-add ALL mini grep CapEff /proc/self/status | grep -c "$(grep CapBnd /proc/1/status | cut -f2)"`, `
all capabilities
1
`},
}

// dockerNotPrivileged: Docker 20.10 asks for all capabilities of the kernel, even if root itself
// lacks some. The container has those that root has (config.md: what cannot be granted is a
// warning); with runc it fails.
var dockerNotPrivileged = []engineScenario{
	{"privileged beyond root", `
has=$(run --privileged mini sh -c 'grep CapEff /proc/self/status' 2>&1); echo "status $?"; state Status
bounding=$(sed -n 's/CapBnd:[[:space:]]*//p' /proc/1/status) # of which Docker 20.10 knows 38
[ "$has" = "$(printf 'CapEff:\t%016x' $((0x$bounding & 0x3fffffffff)))" ] && echo "as root has" || echo "$has"`, `
status 0
exited
as root has
`},
}

// canPrivilege reports which of the two applies here.
func (e *engine) canPrivilege() (bool, error) {
	ctx, cancel := pace.Context(context.Background(), 20*time.Second)
	defer cancel()
	out, err := e.command(ctx, `
docker version -f '{{.Server.Version}}' | grep -c '^20\.'
awk '/CapBnd/ { print ($2 == "'$(printf %016x $(((2 << $(cat /proc/sys/kernel/cap_last_cap)) - 1)))'") }' /proc/1/status`, nil).Output()
	return string(out) != "1\n0\n", err
}
