//go:build integration

package integration

import (
	"strings"
	"time"
)

// podmanLifeScenarios: a container in the background, from its start to its end.
var podmanLifeScenarios = []podmanScenario{
	{name: "logs and wait", run: func(p *podman) {
		p.do("run", "-d", "--name", "box", "mini", "sh", "-c", "echo out; echo err >&2; exit 7")
		p.equal("exit status", p.do("wait", "box"), "7")
		r := p.call("logs", "box")
		if r.stdout != "out\n" || r.stderr != "err\n" {
			p.failf("wrong logs", "%+v", r)
		}
	}},
	{name: "create, start, restart", run: func(p *podman) {
		p.do("create", "--name", "box", "mini", "sh", "-c", "echo once; exit 4")
		p.is(p.call("start", "-a", "box"), 4, "once\n")
		p.is(p.call("start", "-a", "box"), 4, "once\n")
		p.daemon("other", `trap "exit 0" TERM; echo ready; while :; do sleep 0.1; done`)
		was := p.inspect("other", "State.Pid")
		p.do("restart", "other")
		if p.inspect("other", "State.Pid") == was {
			p.failf("no restart", "still process %s", was)
		}
	}},
	{name: "top", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		if top := p.do("top", "box", "args"); !strings.Contains(top, "sleep 1000") {
			p.failf("top", "%q", top)
		}
		if top := p.do("top", "box", "-e", "-o", "pid,args"); !strings.Contains(top, "1 sleep 1000") {
			p.failf("top by ps", "%q", top)
		}
	}},
	{name: "kill by signal", run: func(p *podman) {
		p.daemon("box", `trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done`)
		p.do("kill", "-s", "USR1", "box")
		p.logged("box", "usr1")
		p.do("kill", "box")
		p.equal("exit status", p.do("wait", "box"), "137")
	}},
	{name: "stop, TERM handled", run: func(p *podman) {
		p.daemon("box", `trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done`)
		p.do("stop", "-t", patience(10), "box")
		p.equal("exit status", p.inspect("box", "State.ExitCode"), "9")
	}},
	{name: "stop, TERM ignored", run: func(p *podman) {
		p.daemon("box", `trap "" TERM; echo ready; while :; do sleep 0.1; done`)
		p.call("stop", "-t", "1", "box") // says on stderr that KILL was needed
		p.equal("exit status", p.inspect("box", "State.ExitCode"), "137")
		p.equal("status", p.inspect("box", "State.Status"), "exited")
	}},
	{name: "stop, child left", differs: true, run: func(p *podman) {
		p.daemon("box", `setsid sleep 1000 & echo ready; exec sleep 0.3`)
		p.equal("exit status", p.do("wait", "box"), "0")
	}},
	{name: "rm of a running container", run: func(p *podman) {
		p.daemon("box", `trap "" TERM; echo ready; while :; do sleep 0.1; done`)
		p.do("rm", "-f", "-t", "0", "box")
		p.equal("list of containers", p.do("ps", "-a", "-q"), "")
	}},
	{name: "restart policy", run: func(p *podman) {
		p.do("run", "-d", "--name", "box", "--restart", "on-failure:2", "-v", "/scratch:/v", "mini", "sh", "-c", "echo run >>/v/runs; exit 3")
		p.until("not restarted", 10*time.Second, func() bool {
			return p.inspect("box", "State.Status") == "exited" && p.inspect("box", "RestartCount") == "2"
		})
		p.equal("runs", p.file("runs"), "run\nrun\nrun\n")
	}},
	{name: "healthcheck", run: healthcheck},
	{name: "rename", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		p.do("container", "rename", "box", "other")
		p.do("kill", "other")
		p.equal("exit status", p.do("wait", "other"), "137")
	}},
}

// healthcheck: called by hand, since no systemd runs its timers here.
func healthcheck(p *podman) {
	p.daemon("box", "echo ready; exec sleep 1000", "--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1")
	p.equal("exit status", exit(p.call("healthcheck", "run", "box")), "1")
	p.until("not unhealthy", 5*time.Second, func() bool { return p.health("box") == "unhealthy" })
	p.do("exec", "box", "touch", "/tmp/well")
	p.equal("exit status", exit(p.call("healthcheck", "run", "box")), "0")
	p.equal("health", p.health("box"), "healthy")
}

func (p *podman) health(name string) string {
	return p.do("inspect", "-f", "{{.State.Health.Status}}", name)
}
