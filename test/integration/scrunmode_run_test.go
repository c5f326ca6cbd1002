//go:build integration

package integration

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// theJob returns the number of the user's only job.
func (p *podman) theJob() string {
	job := strings.TrimSpace(p.admin("squeue", "-h", "-o", "%A", "--user", p.user))
	if job == "" || strings.Contains(job, "\n") {
		p.failf("no job", "jobs are %q", job)
	}
	return job
}

// scrunRunScenarios are about a container itself.
var scrunRunScenarios = []podmanScenario{
	{name: "exit statuses", run: func(p *podman) {
		for status, script := range map[int]string{0: "exit 0", 7: "exit 7", 137: "kill -KILL $$", 143: "kill -TERM $$", 127: "exec /no/such"} {
			r := p.call("run", "--rm", "mini", "sh", "-c", script)
			if r.status != status {
				p.failf(fmt.Sprintf("status %d instead of %d", r.status, status), "%q: %+v", script, r)
			}
		}
	}},
	{name: "a gigabyte through pipes", run: func(p *podman) {
		t := p.begin(p.user, io.LimitReader(zeros{}, 1<<30), nil, append(quietly, "run", "--rm", "-i", "mini", "sh", "-c", "cat | wc -c")...)
		p.is(p.wait(t), 0, "1073741824\n")
	}},
	{name: "not before start", run: func(p *podman) {
		p.do("create", "--name", "box", "-v", "/scratch:/v", "mini", "sh", "-c", "echo ran >/v/ran")
		p.do("init", "box")
		p.equal("job state", strings.TrimSpace(p.admin("squeue", "-h", "-o", "%T", "-j", p.theJob())), "RUNNING")
		if !pace.Quiet(300*time.Millisecond, func() bool { return !isFile(p.onHost("/scratch/ran")) }) {
			p.failf("runs before start", "the container ran at create")
		}
		p.do("start", "box")
		p.equal("exit status", p.do("wait", "box"), "0")
		p.equal("file", p.file("ran"), "ran\n")
	}},
	{name: "job ends with the container", run: func(p *podman) {
		p.do("run", "--name", "box", "mini", "true")
		p.until("job does not end", 5*time.Second, func() bool { return p.admin("squeue", "-h") == "" })
		p.do("rm", "box")
	}},
	{name: "a volume", run: func(p *podman) {
		p.script(0, "kept\n", "echo kept >/v/file; cat /v/file", "-v", "/scratch:/v")
		p.equal("file", p.file("file"), "kept\n")
	}},
	{name: "TERM and KILL say nothing", run: func(p *podman) {
		p.daemon("box", `trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done`)
		p.do("stop", "-t", patience(10), "box")
		r := p.call("logs", "box")
		if r.stdout != "ready\nterm\n" || r.stderr != "" {
			p.failf("noise in the output", "stdout %q, stderr %q", r.stdout, r.stderr)
		}
	}},
	{name: "state of unknown id", run: func(p *podman) {
		p.throughRuntime(1, "does not exist", "state", "nothing")
		p.throughRuntime(1, "does not exist", "start", "nothing")
		p.throughRuntime(1, "does not exist", "kill", "nothing")
		p.throughRuntime(1, "does not exist", "delete", "nothing")
		p.throughRuntime(0, "", "delete", "--force", "nothing")
	}},
	{name: "states", run: func(p *podman) {
		p.do("create", "--name", "box", "mini", "sleep", "1000")
		p.do("init", "box")
		id := p.inspect("box", "Id")
		p.throughRuntime(0, `"status": "created"`, "state", id)
		p.do("start", "box")
		p.throughRuntime(0, `"status": "running"`, "state", id)
		p.throughRuntime(0, "", "pause", id)
		p.throughRuntime(0, `"status": "paused"`, "state", id)
		p.throughRuntime(0, "", "resume", id)
		p.throughRuntime(0, `"status": "running"`, "state", id)
		p.throughRuntime(0, id, "list", "-q")
		p.throughRuntime(0, "sleep 1000", "ps", id)
	}},
	{name: "fifty at once, and their memory", run: fiftyAtOnce},
	{name: "exec into the container", run: func(p *podman) {
		p.site("[scrun]\nenter = ['/usr/local/bin/ocishim']\n")
		defer p.site("")
		for _, profile := range []string{"hpc", "oci"} {
			p.enters(profile)
		}
	}},
	{name: "update of a limit", run: func(p *podman) {
		p.daemon("box", "echo ready; exec sleep 1000")
		p.fails(125, "limits of a running job cannot be changed", "update", "--memory", "100m", "box")
		p.throughRuntime(0, "", "update", "--time", "30", p.inspect("box", "Id"))
		p.equal("time limit", strings.TrimSpace(p.admin("squeue", "-h", "-o", "%l", "-j", p.theJob())), "30:00")
	}},
}

// enters lets processes join a container that has a private mount at /private.
func (p *podman) enters(profile string) {
	p.daemon("box", "echo of its own >/private/file; echo ready; exec sleep 1000", "--tmpfs", "/private", "--annotation", "org.ocishim.profile="+profile)
	p.is(p.call("exec", "-e", "GIVEN=yes", "-w", "/private", "box", "sh", "-c", "cat file; echo $GIVEN $SLURM_JOB_ID; exit 5"), 5, "of its own\nyes "+p.theJob()+"\n")
	p.is(p.input(strings.NewReader("text\n"), "exec", "-i", "box", "tee", "/private/in"), 0, "text\n")
	p.is(p.call("exec", "box", "cat", "/private/in"), 0, "text\n")
	p.is(p.call("exec", "box", "sh", "-c", "kill -KILL $$"), 137, "")
	if r := p.call("exec", "box", "nothing"); r.status != 127 {
		p.failf("wrong exit status", "%+v", r)
	}
	if profile == "oci" {
		p.is(p.call("exec", "box", "cat", "/proc/1/comm"), 0, "sleep\n")
	}
	term := p.atTerminal(p.user, 30, 90, append(quietly, "exec", "-it", "box", "sh", "-c", "stty size; cat /private/file; exit 6")...)
	if r := p.wait(term.task); r.status != 6 || !strings.Contains(r.stdout, "30 90") || !strings.Contains(r.stdout, "of its own") {
		p.failf("no terminal", "%+v", r)
	}
	p.do("exec", "-d", "box", "sh", "-c", "echo $$ >/private/pid; exec sleep 1001")
	p.until("detached process does not run", 10*time.Second, func() bool { return p.call("exec", "box", "cat", "/private/pid").status == 0 })
	p.do("rm", "-f", "-t", "0", "box")
}

// mostOfAnchor bounds what an anchor has resident, its share of the program's text, which
// is there once for all, and its own memory.
const mostOfAnchor, mostOfAnchorsOwn = 12 << 10, 3 << 10 // kB

// fiftyAtOnce also checks the memory of an anchor while it waits.
func fiftyAtOnce(p *podman) {
	const many = 50
	tasks := make([]*task, many)
	for i := range tasks {
		tasks[i] = p.begin(p.user, nil, nil, append(quietly, "run", "-d", "--name", fmt.Sprint("box", i), "mini", "sh", "-c", `trap "exit 9" TERM; while :; do sleep 1; done`)...)
	}
	for _, t := range tasks {
		if r := p.wait(t); r.status != 0 {
			p.failf("does not start", "%+v", r)
		}
	}
	p.anchors(many)
	p.do("stop", "-t", patience(10), "-a")
	for i := range many {
		p.equal("exit status", p.inspect(fmt.Sprint("box", i), "State.ExitCode"), "9")
	}
}

// anchors expects a number of anchors, none with too much memory when it is idle.
func (p *podman) anchors(want int) {
	var n, resident, own int
	good := pace.Until(10*time.Second, func() bool {
		n, resident, own = 0, 0, 0
		for _, process := range p.processes() {
			if strings.Contains(process.cmdline, "scrun-anchor") && !strings.Contains(process.cmdline, "conmon") {
				n++
				rollup, _ := os.ReadFile(p.onHost("/proc/" + process.pid + "/smaps_rollup"))
				resident, own = max(resident, kilobytes(rollup, "Rss")), max(own, kilobytes(rollup, "Anonymous"))
			}
		}
		return n == want && resident < mostOfAnchor && own < mostOfAnchorsOwn
	})
	found := fmt.Sprintf("%d anchors of at most %d kB, %d of their own", n, resident, own)
	if !good {
		p.failf("memory", "%s", found)
	}
	p.noted = append(p.noted, found)
}

// kilobytes reads a line of a file such as /proc/PID/smaps_rollup.
func kilobytes(status []byte, name string) int {
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(value)[0])
			return n
		}
	}
	return 1 << 30
}

// throughRuntime calls the runtime itself, as the engine would, and expects a status and some words
// in its output.
func (p *podman) throughRuntime(status int, words string, args ...string) {
	runtime := strings.TrimSpace(p.do("info", "-f", "{{.Host.OCIRuntime.Path}}"))
	r := p.as(p.user, append([]string{"podman", "unshare", runtime}, args...)...)
	if r.status != status || !strings.Contains(r.stdout+r.stderr, words) {
		p.failf("wrong outcome of "+args[0], "%q: %+v, want %d and %q", args, r, status, words)
	}
}

// zeros is an endless stream of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
