//go:build integration

package integration

import (
	"fmt"
	"os"
	"syscall"
)

// podmanPlaceScenarios: where a container is on the machine, and what it sees of it.
var podmanPlaceScenarios = []podmanScenario{
	{name: "user by name and number", who: notSingle, differs: true, run: func(p *podman) {
		p.script(0, "5 6 6\n", "echo $(id -u) $(id -g) $(id -G)", "--user", "5:6")
		p.script(0, "1000 1000\n", "echo $(id -u) $(id -g)", "--user", "alice")
		p.script(0, "5 0 0 7\n", "echo $(id -u) $(id -g) $(id -G)", "--user", "5", "--group-add", "7")
	}},
	{name: "read-only", run: func(p *podman) {
		p.script(0, "refused\ntmp\n", "touch /x 2>/dev/null || echo refused; touch /tmp/x && echo tmp", "--read-only")
		p.script(0, "refused\n", "touch /tmp/x 2>/dev/null || echo refused", "--read-only", "--read-only-tmpfs=false")
	}},
	{name: "tmpfs", run: func(p *podman) {
		p.script(0, "tmpfs\n1048576\nfull\n", `grep ' /new/dir ' /proc/mounts | cut -d' ' -f1
			dd if=/dev/zero of=/new/dir/x bs=1M count=2 2>/dev/null || { stat -c %s /new/dir/x; echo full; }`,
			"--tmpfs", "/new/dir:size=1m")
	}},
	{name: "volumes", differs: true, run: volumes},
	{name: "cp", run: copies},
	{name: "namespaces of others", differs: true, run: sharedNamespaces},
	{name: "devices by CDI", differs: true, run: devicesByCDI},
	{name: "devices and limits", differs: true, run: func(p *podman) {
		p.script(0, "100\n", "ulimit -n", "--ulimit", "nofile=100:100", "--ulimit", "nproc=1000:1000")
		p.script(0, "0077\n", "umask", "--umask", "0077")
		p.script(0, "1\n", "grep -c ' /dev/shm .*size=2048k' /proc/mounts", "--shm-size", "2m")
		p.script(0, "device\n", "[ -c /dev/fuse ] && echo device", "--device", "/dev/fuse")
		p.script(0, "500\n", "cat /proc/self/oom_score_adj", "--oom-score-adj", "500")
		p.script(0, "4242\n", "cat /proc/sys/kernel/msgmax", "--sysctl", "kernel.msgmax=4242")
		p.script(0, "masked\n", "[ -s /proc/timer_list ] || echo masked")
	}},
}

// devicesByCDI: Podman resolves the name. An image's own request for GPUs has no effect unless the
// site allows it.
func devicesByCDI(p *podman) {
	const spec = `{"cdiVersion": "0.5.0", "kind": "example.com/test", "devices": [{"name": "one", "containerEdits": {
		"env": ["BY_CDI=yes"], "deviceNodes": [{"path": "/dev/fuse"}], "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/by/cdi", "options": ["bind", "ro"]}]}}]}`
	if err := os.MkdirAll(p.onHost("/etc/cdi"), 0o755); err != nil {
		p.failf("test error", "%v", err)
	}
	if err := os.WriteFile(p.onHost("/etc/cdi/test.json"), []byte(spec), 0o644); err != nil {
		p.failf("test error", "%v", err)
	}
	p.script(0, "device yes\n", "[ -c /dev/fuse ] && [ -s /by/cdi ] && echo device $BY_CDI", "--device", "example.com/test=one")
	p.script(0, "nothing all\n", "ls /dev/nvidia* 2>/dev/null || echo nothing $NVIDIA_VISIBLE_DEVICES", "-e", "NVIDIA_VISIBLE_DEVICES=all")
}

func volumes(p *podman) {
	p.script(0, "", "echo from inside >/v/file", "-v", "/scratch:/v")
	p.equal("file", p.file("file"), "from inside\n")
	info, err := os.Stat(p.onHost("/scratch/file"))
	if err != nil {
		p.failf("no file", "%v", err)
	}
	owner := map[string]int{"root": 0, "alice": 1000, "bob": 1001}[p.user]
	p.equal("owner", fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid), fmt.Sprint(owner))
	p.script(0, "from inside\nrefused\n", "cat /v/file; touch /v/file 2>/dev/null || echo refused", "-v", "/scratch:/v:ro")
	p.equal("file", p.file("file"), "from inside\n")
	p.script(0, "from inside\n", "cat /a/file", "-v", "/scratch/file:/a/file:ro")
	p.script(0, "", "echo kept >/v/x", "-v", "named:/v")
	p.script(0, "kept\n", "cat /v/x", "-v", "named:/v")
	p.do("volume", "rm", "named")
}

func copies(p *podman) {
	p.daemon("box", "echo ready; exec sleep 1000")
	p.as(p.user, "sh", "-c", "echo outside >/scratch/in")
	p.do("cp", "/scratch/in", "box:/tmp/in")
	p.wants(0, "outside\n", "exec", "box", "cat", "/tmp/in")
	p.do("exec", "box", "sh", "-c", "mkdir /tmp/d; echo inside >/tmp/d/f")
	p.do("cp", "box:/tmp/d", "/scratch/d")
	p.equal("file", p.file("d/f"), "inside\n")
}

func sharedNamespaces(p *podman) {
	host := p.as(p.user, "sh", "-c", "readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/ipc").stdout
	const three = "readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/ipc"
	p.script(0, host, three, "--net", "host", "--uts", "host", "--ipc", "host")
	p.script(0, "slurmctld\n", "ps -e -o comm= | grep -o -m 1 slurmctld", "--pid", "host")
	p.daemon("box", "echo ready; exec sleep 1000")
	p.script(0, "sleep 1000\n", "ps -o args= -p 1", "--pid", "container:box")
	inside := p.do("exec", "box", "sh", "-c", three)
	p.script(0, inside+"\n", three, "--net", "container:box", "--uts", "container:box", "--ipc", "container:box")
}
