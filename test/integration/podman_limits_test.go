//go:build integration

package integration

import (
	"strconv"
	"strings"
	"time"
)

// podmanLimitScenarios: what the cgroup of a container limits, counts and stops.
var podmanLimitScenarios = []podmanScenario{
	{name: "memory", who: rootOnly, run: func(p *podman) {
		p.script(0, "33554432\n", limit("memory.max", "memory/memory.limit_in_bytes"), "--memory", "32m")
		p.script(0, "16777216\n", limit("memory.low", "memory/memory.soft_limit_in_bytes"), "--memory-reservation", "16m")
	}},
	{name: "out of memory", who: rootOnly, run: func(p *podman) {
		r := p.call("run", "--name", "box", "--memory", "24m", "--memory-swap", "24m", "mini", "sh", "-c", "tail /dev/zero; exit 3")
		if r.status != 3 {
			p.failf("wrong exit status", "the shell survives its child: status %d, want 3: %s", r.status, r.stderr)
		}
		r = p.call("run", "--name", "all", "--memory", "24m", "--memory-swap", "24m", "mini", "tail", "/dev/zero")
		p.equal("exit status", exit(r), "137")
		// with cgroup version 1 Podman does not notice it, whatever the runtime
		r = p.call("--runtime", "runc", "run", "--name", "runc", "--memory", "24m", "--memory-swap", "24m", "mini", "tail", "/dev/zero")
		p.equal("exit status with runc", exit(r), "137")
		p.equal("OOMKilled", p.inspect("all", "State.OOMKilled"), p.inspect("runc", "State.OOMKilled"))
	}},
	{name: "cpus", who: rootOnly, run: func(p *podman) {
		p.script(0, "limited\nthrottled\n", `[ "$({ `+limit("cpu.max", "cpu/cpu.cfs_quota_us")+`; } | cut -d' ' -f1)" = 20000 ] && echo limited
			timeout 0.5 sh -c 'while :; do :; done'
			[ $({ `+limit("cpu.stat", "cpu/cpu.stat")+`; } | grep nr_throttled | cut -d' ' -f2) -gt 0 ] && echo throttled`, "--cpus", "0.2")
		p.script(0, "1\n", "nproc", "--cpuset-cpus", "0")
		p.script(0, "20\n", `case "$(`+limit("cpu.weight", "cpu/cpu.shares")+`)" in 20|512) echo 20 ;; esac`, "--cpu-shares", "512")
	}},
	{name: "pids", who: rootOnly, run: func(p *podman) {
		r := p.call("run", "--rm", "--pids-limit", "8", "mini", "bash", "-c", "for i in $(seq 20); do sleep 1 & done; wait")
		if !strings.Contains(r.stderr, "Resource temporarily unavailable") {
			p.failf("not limited", "%+v", r)
		}
		p.script(0, "8\n", limit("pids.max", "pids/pids.max"), "--pids-limit", "8")
	}},
	{name: "devices", who: rootOnly, run: func(p *podman) {
		p.admin("mknod", "/scratch/node", "c", "1", "11") // kmsg
		// a device node for another device can be made, but not opened
		p.script(0, "made\nrefused\n", `cp -a /v/node /tmp/node && [ -c /tmp/node ] && echo made
			head -c 0 /tmp/node 2>/dev/null || echo refused; echo >/dev/null`, "--cap-add", "mknod", "-v", "/scratch:/v")
	}},
	{name: "pause and unpause", who: rootOnly, run: func(p *podman) {
		p.daemon("box", "echo ready; i=0; while :; do i=$((i+1)); echo $i >/v/count; sleep 0.02; done", "-v", "/scratch:/v")
		p.do("pause", "box")
		p.equal("status", p.inspect("box", "State.Status"), "paused")
		was := p.file("count")
		p.call("ps") // takes some time
		p.equal("count while paused", p.file("count"), was)
		p.fails(255, "container state improper", "exec", "box", "true")
		p.do("unpause", "box")
		p.until("not resumed", 5*time.Second, func() bool { return p.file("count") != was })
		p.do("pause", "box")
		p.do("rm", "-f", "-t", "0", "box")
	}},
	{name: "stats", who: rootOnly, run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000", "--memory", "64m")
		fields := strings.Split(p.do("stats", "--no-stream", "--format", "{{.Name}};{{.PIDs}};{{.MemUsage}}", "box"), ";")
		if len(fields) != 3 || fields[0] != "box" || fields[1] != "1" || !strings.HasSuffix(fields[2], "/ 67.11MB") {
			p.failf("wrong stats", "%q", fields)
		}
	}},
	{name: "update", who: rootOnly, run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000", "--memory", "32m")
		p.do("update", "--memory", "64m", "--cpus", "0.5", "box")
		script := limit("memory.max", "memory/memory.limit_in_bytes") + ";" + limit("cpu.max", "cpu/cpu.cfs_quota_us")
		got := strings.Fields(strings.ReplaceAll(p.do("exec", "box", "sh", "-c", script), " 100000", ""))
		p.equal("limits", strings.Join(got, " "), strconv.Itoa(64<<20)+" 50000")
	}},
}
