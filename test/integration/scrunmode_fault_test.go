//go:build integration

package integration

import (
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// scrunFaultScenarios: something is killed. Nothing may remain, neither a job nor state.
var scrunFaultScenarios = []podmanScenario{
	{name: "anchor killed while pending", run: func(p *podman) {
		defer p.fill()()
		t := p.pending()
		p.killAll("scrun-anchor")
		if r := p.wait(t); r.status == 0 {
			p.failf("no failure", "%+v", r)
		}
		p.until("job stays", 5*time.Second, func() bool { return p.admin("squeue", "-h", "-n", "pending") == "" })
	}},
	{name: "create killed while pending", run: func(p *podman) {
		defer p.fill()()
		t := p.pending()
		p.killAll("scrun create")
		if r := p.wait(t); r.status == 0 {
			p.failf("no failure", "%+v", r)
		}
		p.until("job stays", 5*time.Second, func() bool { return p.admin("squeue", "-h", "-n", "pending") == "" })
	}},
	{name: "given up while pending", run: func(p *podman) {
		defer p.fill()()
		t := p.pending()
		p.signalAll("TERM", "scrun create")
		p.givenUp(t, "interrupted while its job was pending: terminated")
		t = p.pending()
		id := strings.TrimSpace(p.as(p.user, "podman", "unshare", "scrun", "list", "-q").stdout)
		p.as(p.user, "podman", "unshare", "scrun", "delete", "--force", id) // as Podman does after four minutes
		p.givenUp(t, "")
	}},
	{name: "engine killed while pending", run: func(p *podman) {
		defer p.fill()()
		t := p.pending("--name", "box")
		p.killAll("podman run")
		p.wait(t)
		p.do("rm", "-f", "-t", "0", "box")
		p.until("job stays", 10*time.Second, func() bool { return p.admin("squeue", "-h", "-n", "pending") == "" })
	}},
	{name: "anchor killed", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		p.killAll("scrun-anchor")
		p.equal("exit status", p.do("wait", "box"), "137")
		p.until("job stays", 10*time.Second, func() bool { return p.admin("squeue", "-h") == "" })
	}},
	{name: "salloc and srun killed", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		p.killAll("salloc")
		p.killAll("srun")
		p.do("wait", "box")
		p.until("job stays", 10*time.Second, func() bool { return p.admin("squeue", "-h") == "" })
	}},
	{name: "killed at random", run: func(p *podman) {
		for range rounds(4) {
			p.killedAtRandom()
		}
	}},
	{name: "slurmctld restarted", run: func(p *podman) {
		p.daemon("box", `trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done`)
		p.admin("pkill", "-x", "slurmctld")
		p.until("slurmctld does not end", 10*time.Second, func() bool { _, err := p.asRoot("pgrep", "-x", "slurmctld"); return err != nil })
		go func() {
			pace.Pause(500 * time.Millisecond) // stop starts without it
			_, _ = p.asRoot("slurmctld")
		}()
		p.do("stop", "-t", patience(20), "box")
		p.equal("exit status", p.inspect("box", "State.ExitCode"), "9")
	}},
}

// rounds returns how often to repeat something: more with OCISHIM_TEST_ROUNDS.
func rounds(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("OCISHIM_TEST_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// pending runs a container whose job waits.
func (p *podman) pending(flags ...string) *task {
	t := p.begin(p.user, nil, nil, slices.Concat(quietly, []string{"run", "-e", "SCRUN_JOB_NAME=pending"}, flags, []string{"mini", "true"})...)
	p.until("not pending", 10*time.Second, func() bool { return p.admin("squeue", "-h", "-t", "PD", "-n", "pending") != "" })
	return t
}

// givenUp expects podman run to fail, with some words, and the job to be cancelled.
func (p *podman) givenUp(t *task, words string) {
	r := p.wait(t)
	if r.status != 126 || !strings.Contains(r.stderr, words) {
		p.failf("no clear failure", "%+v", r)
	}
	p.equal("job", p.admin("squeue", "-h", "-n", "pending"), "")
}

// killAll kills the processes whose command line contains the words.
func (p *podman) killAll(words string) { p.signalAll("KILL", words) }

func (p *podman) signalAll(signal, words string) {
	for _, process := range p.processes() {
		if strings.Contains(process.cmdline, words) && !strings.Contains(process.cmdline, "conmon") {
			_, _ = p.asRoot("kill", "-"+signal, process.pid)
		}
	}
}

// killedAtRandom kills one of a container's processes at a random moment, and removes the
// container.
func (p *podman) killedAtRandom() {
	t := p.begin(p.user, nil, nil, append(quietly, "run", "--name", "box", "mini", "sh", "-c", "sleep 0.1; exit 7")...)
	pace.Pause(time.Duration(rand.Int63n(int64(pace.Of(350 * time.Millisecond)))))
	var ours []process
	for _, process := range p.processes() {
		for _, words := range []string{"scrun-anchor", "scrun create", "salloc ", "srun ", "scrun-launcher", "scrun start"} {
			if strings.Contains(process.cmdline, words) && !strings.Contains(process.cmdline, "conmon") {
				ours = append(ours, process)
				break
			}
		}
	}
	if len(ours) > 0 {
		_, _ = p.asRoot("kill", "-KILL", ours[rand.Intn(len(ours))].pid)
	}
	p.wait(t)
	p.call("rm", "-f", "-t", "0", "box")
	p.until("job stays", 15*time.Second, func() bool { return p.admin("squeue", "-h") == "" })
}
