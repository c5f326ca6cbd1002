//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	effective = "grep CapEff /proc/self/status | cut -f2"
	// the default of Debian's containers.conf
	defaultCapabilities = "00000000800405fb"
)

// podmanSecurityScenarios: what a container may do.
var podmanSecurityScenarios = []podmanScenario{
	{name: "capabilities", differs: true, run: func(p *podman) {
		p.script(0, defaultCapabilities+"\n", effective)
		p.script(0, "0000000000000000\n", effective, "--cap-drop", "all")
		p.script(0, "0000000000000401\n", effective, "--cap-drop", "all", "--cap-add", "chown,net_bind_service")
		p.script(0, "00000000802425fb\n", effective, "--cap-add", "sys_admin,net_raw")
		p.script(0, "refused\n", "chmod 777 /etc; mount -t tmpfs x /mnt 2>/dev/null || echo refused")
	}},
	{name: "no new privileges", run: func(p *podman) {
		const script = "grep NoNewPrivs /proc/self/status | cut -f2"
		p.script(0, "0\n", script)
		p.script(0, "1\n", script, "--security-opt", "no-new-privileges")
	}},
	{name: "seccomp", differs: true, run: seccomp},
	{name: "privileged", differs: true, run: func(p *podman) {
		p.script(0, p.allCapabilities()+"\nmounted\n0\n", effective+`; mount -t tmpfs x /mnt && echo mounted
			grep Seccomp: /proc/self/status | cut -f2`, "--privileged")
		p.script(0, "mounted\n", "mount -t tmpfs x /mnt && echo mounted", "--cap-add", "sys_admin", "--security-opt", "seccomp=unconfined")
	}},
	{name: "masked and read-only paths", differs: true, run: func(p *podman) {
		p.script(0, "refused\n0\n", "[ -w /proc/sys/kernel/msgmax ] || echo refused; cat /proc/kcore /proc/keys 2>/dev/null | wc -c")
		p.script(0, "refused\n", "cd /sys/fs/cgroup; [ ! -d memory ] || cd memory; mkdir x 2>/dev/null || echo refused")
		p.script(0, "seen\n", "[ $(wc -c </proc/keys) -gt 0 ] && echo seen", "--security-opt", "unmask=/proc/keys")
		p.script(0, "0\n", "cat /proc/cpuinfo 2>/dev/null | wc -c", "--security-opt", "mask=/proc/cpuinfo")
	}},
}

// allCapabilities returns root's capabilities here, or all of the kernel's, which a user has in
// their own user namespace.
func (p *podman) allCapabilities() string {
	if p.user == "root" {
		return strings.TrimSpace(p.admin("sh", "-c", "grep CapBnd /proc/self/status | cut -f2"))
	}
	last, err := strconv.Atoi(strings.TrimSpace(p.admin("cat", "/proc/sys/kernel/cap_last_cap")))
	if err != nil {
		p.failf("test error", "%v", err)
	}
	return fmt.Sprintf("%016x", uint64(1)<<(last+1)-1)
}

// seccompProfile forbids mkdir, and nothing else.
const seccompProfile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
	{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}`

func seccomp(p *podman) {
	const mode = "grep Seccomp: /proc/self/status | cut -f2"
	p.script(0, "2\n", mode)
	p.script(0, "0\n", mode, "--security-opt", "seccomp=unconfined")
	if err := os.WriteFile(filepath.Join(p.root, "scratch/profile.json"), []byte(seccompProfile), 0o644); err != nil {
		p.failf("test error", "%v", err)
	}
	p.script(0, "refused\nfile\n", `mkdir /tmp/d 2>&1 | grep -q "Operation not permitted" && echo refused
		touch /tmp/f && echo file`, "--security-opt", "seccomp=/scratch/profile.json")
}
