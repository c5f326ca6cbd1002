//go:build integration

package integration

import (
	"slices"
	"strings"
	"time"
)

// podmanTerminalScenarios: a person at a terminal.
var podmanTerminalScenarios = []podmanScenario{
	{name: "-t without input", run: func(p *podman) {
		p.is(p.call("run", "--rm", "-t", "mini", "sh", "-c", "[ -t 1 ] && tty; exit 3"), 3, "/dev/pts/0\r\n")
	}},
	{name: "-it", differs: true, run: func(p *podman) {
		t := p.shell("run", "--rm", "-it", "mini", "bash", "--norc", "-i")
		defer t.outer.Close()
		p.typed(t)
	}},
	{name: "exec -it", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		t := p.shell("exec", "-it", "box", "bash", "--norc", "-i")
		defer t.outer.Close()
		p.typed(t)
	}},
	{name: "exec -it of a container with a terminal", run: func(p *podman) {
		p.do("run", "-d", "-t", "--name", "box", "mini", "sleep", "1000")
		t := p.shell("exec", "-it", "-w", "/tmp", "box", "bash", "--norc", "-i")
		defer t.outer.Close()
		p.typed(t)
	}},
	// with a single id Podman itself ends at once, whatever the runtime
	{name: "Ctrl-C without -t", who: notSingle, run: func(p *podman) {
		t := p.shell("run", "--rm", "mini", "sh", "-c", `trap "echo interrupted; exit 11" INT; echo ready; while :; do sleep 0.1; done`)
		defer t.outer.Close()
		t.expect("does not start", "ready")
		t.send("\x03")
		t.expect("Ctrl-C does not arrive", "interrupted")
		p.equal("exit status", exit(p.wait(t.task)), "11")
	}},
	{name: "attach and detach", run: func(p *podman) {
		p.do("run", "-d", "-it", "--name", "box", "mini", "bash", "--norc", "-i")
		t := p.shell("attach", "box")
		t.line("echo up $((40+2))")
		t.expect("no shell", "up 42")
		t.send("\x10") // Ctrl-P Ctrl-Q, which Podman expects one by one
		t.taken()
		t.send("\x11")
		p.wait(t.task)
		t.outer.Close()
		p.equal("status", p.inspect("box", "State.Status"), "running")
		t = p.shell("attach", "box")
		defer t.outer.Close()
		t.line("exit 8")
		p.equal("exit status", p.do("wait", "box"), "8")
	}},
}

func (p *podman) shell(args ...string) *terminal {
	return p.atTerminal(p.user, 33, 77, slices.Concat(quietly, args)...)
}

// typed tests a shell in a container: its terminal, size, keys, and end.
func (p *podman) typed(t *terminal) {
	t.line("echo up $((40+2))")
	t.expect("no shell", "up 42")
	t.line(`[ -c "$(tty)" ] && echo exists $((1+1)); echo direct $((2+3)) >/dev/tty`)
	t.expect("tty names no device", "exists 2")
	t.expect("/dev/tty does not work", "direct 5")
	p.until("wrong size", 5*time.Second, func() bool { // Podman passes the size a moment after the start
		t.line("echo si''ze $(stty size)") // bash writes the line once more when the size changes
		t.expect("no size", "size ")
		return strings.HasPrefix(t.stdout.String()[t.read:], "33 77")
	})
	if err := resize(t.outer, 20, 50); err != nil {
		p.failf("test error", "%v", err)
	}
	p.until("resize does not arrive", 5*time.Second, func() bool {
		t.line("echo si''ze $(stty size)") // bash writes the line once more when the size changes
		t.expect("no size", "size ")
		return strings.HasPrefix(t.stdout.String()[t.read:], "20 50")
	})
	t.line("sh -c 'echo sleeps $((1+2)); exec sleep 1000'")
	t.expect("no sleep", "sleeps 3")
	t.send("\x03")
	t.line("echo status $?, done $((4+4))")
	t.expect("Ctrl-C does not arrive", "status 130, done 8")
	t.line("exit 6")
	if r := p.wait(t.task); r.status != 6 {
		p.failf("wrong exit status", "%d, want 6", r.status)
	}
}
