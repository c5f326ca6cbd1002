package scrun

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// srunMessages is what srun has reported about the step.
type srunMessages struct {
	tasks   int // to be started
	started int
	exited  int  // tasks that ended by themselves
	oom     bool // the kernel has killed a process for lack of memory
	revoked bool
	errors  []string
	closed  chan struct{}
}

// outOfMemory is the status that srun prints for the tasks of a step in which the kernel has
// killed a process for lack of memory: SIG_OOM (slurm_protocol_defs.h). srun then exits with
// 1, whatever the task's status was.
const outOfMemory = "(status=0x00fd)."

// mostErrors is how many of srun's errors are kept at most.
const mostErrors = 20

// readMessages reads what salloc and srun write to stderr. The container's stderr is another
// file.
func (a *anchor) readMessages(from *os.File) {
	defer close(a.srun.closed)
	lines := bufio.NewReaderSize(from, 4096)
	for {
		line, prefix, err := lines.ReadLine()
		if err != nil {
			return
		}
		text := string(line)
		for prefix && err == nil { // skip the rest of a line that is too long
			_, prefix, err = lines.ReadLine()
		}
		taken := make(chan struct{})
		a.do(func() { a.message(strings.TrimSpace(text)); close(taken) })
		select {
		case <-taken:
		case <-time.After(time.Second):
		}
	}
}

// message handles one line.
func (a *anchor) message(line string) {
	program, text, ok := strings.Cut(line, ": ")
	switch {
	case !ok || line == "":
	case program == "salloc":
		a.sallocSays(text)
	case program == "srun":
		a.srunSays(text)
	default: // slurmstepd's and others' messages, which srun prints
		a.log("warning", line)
	}
}

func (a *anchor) sallocSays(text string) {
	if !a.ready {
		a.said = append(a.said, text)
	}
	if number, ok := strings.CutPrefix(text, "Pending job allocation "); ok {
		_ = a.c.update(func(r *Record) { r.Job = number })
	}
	if strings.HasSuffix(text, "has been revoked.") {
		a.srun.revoked = true
		if a.launch.IsZero() && a.orders != nil {
			a.orders.Close()
		}
	}
	level := "info"
	if strings.HasPrefix(text, "error: ") || strings.Contains(text, "queued and waiting") {
		level = "warning" // these are in the log by default
	}
	a.log(level, "salloc: "+text)
}

func (a *anchor) srunSays(text string) {
	if rest, ok := strings.CutPrefix(text, "launch/slurm: "); ok { // Slurm 22.05 adds the function's name
		_, text, _ = strings.Cut(rest, ": ")
	}
	var step, node string
	var n int
	switch {
	case strings.HasPrefix(text, "launching "): // launching StepId=7.0 on host n1, 1 tasks: 0
		if _, err := fmt.Sscanf(text, "launching StepId=%s on host %s %d tasks", &step, &node, &n); err != nil {
			_, _ = fmt.Sscanf(text, "launching %s on host %s %d tasks", &step, &node, &n)
		}
		a.srun.tasks += n
		if a.c.Step == "" && step != "" {
			_ = a.c.update(func(r *Record) { r.Step = step })
		}
	case strings.HasPrefix(text, "Node "): // Node n1, 1 tasks started
		if _, err := fmt.Sscanf(text, "Node %s %d tasks started", &node, &n); err == nil {
			a.srun.started += n
			if a.srun.started >= a.srun.tasks {
				a.running()
			}
		}
	case strings.HasPrefix(text, "Received task exit notification"): // for 1 task of StepId=7.0 (status=0x0700).
		_, _ = fmt.Sscanf(text, "Received task exit notification for %d task", &n)
		a.srun.exited += n
		a.srun.oom = a.srun.oom || strings.HasSuffix(text, outOfMemory)
		a.running()
	case strings.HasPrefix(text, "error: "):
		if len(a.srun.errors) < mostErrors {
			a.srun.errors = append(a.srun.errors, strings.TrimPrefix(text, "error: "))
		}
		if !isExitMessage(text) {
			a.log("warning", "srun: "+text)
		}
	}
}

// isExitMessage reports whether a message of srun's only says how a task ended.
func isExitMessage(text string) bool {
	return strings.Contains(text, ": task ") || strings.Contains(text, ": tasks ")
}

// running records that the container runs, and answers pending start requests.
func (a *anchor) running() {
	if a.c.Started {
		return
	}
	_ = a.c.update(func(r *Record) { r.Started = true })
	for _, conn := range a.waiting {
		reply(conn, nil)
	}
	a.waiting = nil
	if a.c.isAdded() {
		a.send(report{Ready: true})
	}
}

// write appends a message to the log, in runc's format.
func (l Log) write(level, message string) {
	if l.File == "" {
		return
	}
	f, err := os.OpenFile(l.File, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return // the engine has removed it
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if l.Format == "json" {
		_, _ = fmt.Fprintf(f, "{\"level\":%q,\"msg\":%s,\"time\":%q}\n", level, jsonString(message), now)
		return
	}
	_, _ = fmt.Fprintf(f, "time=%q level=%s msg=%q\n", now, level, message)
}
