//go:build integration

package integration

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// podmanExecScenarios: further processes in a container.
var podmanExecScenarios = []podmanScenario{
	{name: "exec: output and exit status", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		r := p.call("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 6")
		if r.status != 6 || r.stdout != "out\n" || r.stderr != "err\n" {
			p.failf("wrong outcome", "%+v", r)
		}
		p.wants(137, "", "exec", "box", "sh", "-c", "kill -KILL $$")
		p.fails(127, "nothing", "exec", "box", "nothing")
		p.fails(126, "permission denied", "exec", "box", "/etc/passwd")
	}},
	{name: "exec: input", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		text := strings.Repeat("a line of text\n", 100000)
		p.is(p.input(strings.NewReader(text), "exec", "-i", "box", "wc", "-c"), 0, strconv.Itoa(len(text))+"\n")
		p.is(p.call("exec", "-t", "box", "tty"), 0, "/dev/pts/0\r\n")
	}},
	{name: "exec: options", differs: true, run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000", "-e", "A=of the container")
		p.wants(0, "/tmp\nb\n", "exec", "-w", "/tmp", "-e", "A=b", "box", "sh", "-c", "pwd; echo $A")
		p.wants(0, "of the container\n", "exec", "box", "sh", "-c", "echo $A")
		p.wants(0, defaultCapabilities+"\n", "exec", "box", "sh", "-c", effective)
		p.wants(0, p.allCapabilities()+"\n", "exec", "--privileged", "box", "sh", "-c", effective)
	}},
	{name: "exec: another user", who: notSingle, differs: true, run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000", "--user", "5:6")
		p.wants(0, "5 6\n", "exec", "box", "sh", "-c", "echo $(id -u) $(id -g)")
		p.wants(0, "0 0\n", "exec", "-u", "root", "box", "sh", "-c", "echo $(id -u) $(id -g)")
		p.wants(0, "7 8\n", "exec", "-u", "7:8", "box", "sh", "-c", "echo $(id -u) $(id -g)")
	}},
	{name: "exec: detached", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		p.do("exec", "-d", "box", "sh", "-c", "sleep 0.2; echo done >/tmp/done")
		p.until("not done", 5*time.Second, func() bool { return p.call("exec", "box", "test", "-e", "/tmp/done").status == 0 })
	}},
	{name: "exec: same namespaces and cgroup", differs: true, run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		const script = "cd /proc/%/ns; readlink cgroup ipc mnt net pid user uts; cat /proc/%/cgroup"
		first := p.do("exec", "box", "sh", "-c", strings.ReplaceAll(script, "%", "1"))
		own := p.do("exec", "box", "sh", "-c", strings.ReplaceAll(script, "%", "self"))
		p.equal("namespaces and cgroup", own, first)
	}},
	{name: "exec: many at once", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		var tasks []*task
		for i := range 8 {
			tasks = append(tasks, p.begin(p.user, nil, nil, slices.Concat(quietly, []string{"exec", "box", "sh", "-c", "exit " + strconv.Itoa(i)})...))
		}
		for i, t := range tasks {
			p.is(p.wait(t), i, "")
		}
	}},
	{name: "exec: dies with the container", differs: true, run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		t := p.begin(p.user, nil, nil, slices.Concat(quietly, []string{"exec", "box", "sh", "-c", "echo in; exec sleep 1000"})...)
		p.until("does not start", 10*time.Second, func() bool { return t.stdout.String() == "in\n" })
		p.do("stop", "-t", "0", "box")
		if r := p.wait(t); r.status != 137 {
			p.failf("wrong exit status", "%d, want 137: %s", r.status, r.stderr)
		}
	}},
}

func exit(r result) string { return strconv.Itoa(r.status) }
