//go:build integration

package integration

import (
	"crypto/md5"
	"fmt"
	"math/rand"
	"strings"
)

// podmanRunScenarios: the output of podman run.
var podmanRunScenarios = []podmanScenario{
	{name: "output and exit status", differs: true, run: func(p *podman) {
		r := p.call("run", "--rm", "mini", "sh", "-c", "echo out; echo err >&2; exit 3")
		if r.status != 3 || r.stdout != "out\n" || r.stderr != "err\n" {
			p.failf("wrong outcome", "%+v", r)
		}
		p.script(0, "", "true")
	}},
	{name: "not to be started", run: cannotStart},
	{name: "stdin through pipes", run: muchData},
	{name: "preserved descriptor", run: func(p *podman) {
		r := p.as(p.user, "sh", "-c", "echo through three >/scratch/three; exec podman run --rm --preserve-fds 1 mini sh -c 'cat <&3; ls /proc/self/fd | wc -l' 3</scratch/three 2>/dev/null")
		p.is(r, 0, "through three\n5\n") // 0 to 3, and ls' own
	}},
	{name: "named by option", run: byOption},
	{name: "environment, directory, name", run: func(p *podman) {
		p.script(0, "A=b c\n/tmp\nbox\n", `env | grep ^A=; pwd; hostname`, "-e", "A=b c", "-w", "/tmp", "--hostname", "box")
		p.fails(126, "not a directory", "run", "--rm", "-w", "/etc/passwd", "mini", "true")
	}},
	{name: "init", run: func(p *podman) {
		p.script(4, "init\n", `sh -c 'sleep 0.1 & exit 0'; while ps -o comm= | grep -q sleep; do sleep 0.02; done
			ps -o stat= | grep Z; case $(ps -o args= -p 1) in */init*|catatonit*) echo init ;; esac; exit 4`, "--init")
	}},
	{name: "twenty at once", differs: true, run: atOnce},
}

func cannotStart(p *podman) {
	p.fails(127, "nothing", "run", "--rm", "mini", "nothing")
	p.fails(127, "not found", "run", "--rm", "mini", "/no/such")
	p.fails(126, "permission denied", "run", "--rm", "mini", "/etc/passwd")
	p.fails(126, "", "run", "--rm", "mini", "/etc")
	p.fails(125, "no such file", "run", "--rm", "-v", "/no/such:/x", "mini", "true")
	p.fails(125, "", "run", "--rm", "--no-such-flag", "mini", "true")
	// without the help of a runtime: what it made must also be removable without one
	p.equal("list of containers", p.do("ps", "-a", "-q"), "")
}

// muchData: what goes in comes out completely and unchanged.
func muchData(p *podman) {
	data := make([]byte, 12<<20)
	_, _ = rand.New(rand.NewSource(1)).Read(data)
	sum := fmt.Sprintf("%x", md5.Sum(data))
	r := p.input(strings.NewReader(string(data)), "run", "--rm", "-i", "mini", "md5sum")
	p.is(r, 0, sum+"  -\n")
	r = p.input(strings.NewReader(string(data)), "run", "--rm", "-i", "mini", "cat")
	if r.status != 0 || fmt.Sprintf("%x", md5.Sum([]byte(r.stdout))) != sum {
		p.failf("data changed", "status %d, %d bytes of %d, stderr %q", r.status, len(r.stdout), len(data), r.stderr)
	}
}

// byOption: ocishim is the default in containers.conf; if runc is, --runtime asks for ocishim.
func byOption(p *podman) {
	p.do("run", "-d", "--name", "default", "mini", "sleep", "1000")
	p.equal("runtime", p.inspect("default", "OCIRuntime"), "ocishim")
	for _, name := range []string{"ocishim", "/usr/local/bin/ocishim"} {
		r := p.as(p.user, "env", "CONTAINERS_CONF=/etc/containers/runc.conf", "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
			"podman", "--runtime", name, "run", "--name", "box", "mini", "sh", "-c", "echo hi; exit 5")
		p.is(r, 5, "hi\n")
		p.equal("runtime", p.inspect("box", "OCIRuntime"), name)
		p.do("rm", "box")
	}
}

func atOnce(p *podman) {
	const many = 20
	tasks := make([]*task, many)
	for i := range tasks {
		tasks[i] = p.begin(p.user, nil, nil, append(quietly, "run", "--rm", "mini", "sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i))...)
	}
	for i, t := range tasks {
		p.is(p.wait(t), i, fmt.Sprintf("%d\n", i))
	}
}
