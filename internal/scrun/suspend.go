package scrun

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/entry"
)

// Pause stops the container. It suspends the job, if Slurm lets the user do that, which is
// for operators; otherwise it stops every process of the step.
func (c *Container) Pause() error {
	if status := c.Status(); status != entry.Running {
		return fmt.Errorf("pause container %q: %w: it is %s", c.ID, entry.ErrNotRunning, status)
	}
	if err := c.freeze("suspend", "STOP"); err != nil {
		return fmt.Errorf("pause container %q: %w", c.ID, err)
	}
	return c.update(func(r *Record) { r.Paused = true })
}

// Resume lets a paused container continue.
func (c *Container) Resume() error {
	if status := c.Status(); status != entry.Paused {
		return fmt.Errorf("resume container %q: it is %s, not paused", c.ID, status)
	}
	if err := c.freeze("resume", "CONT"); err != nil {
		return fmt.Errorf("resume container %q: %w", c.ID, err)
	}
	return c.update(func(r *Record) { r.Paused = false })
}

// freeze suspends or resumes the job with scontrol. In an existing job, which may have other
// steps, or if that is not allowed, it sends the signal to the processes of the step.
func (c *Container) freeze(verb, signal string) error {
	if !c.Foreign {
		if _, err := c.Host.output("scontrol", verb, c.Job); err == nil {
			return nil
		}
	}
	return c.signalProcesses(signal)
}

// onNodes runs a program on every node of the job, beside its steps.
func (c *Container) onNodes(args ...string) (string, error) {
	return c.Host.output("srun", c.onNodesArgs("--input=none", args...)...)
}

// onNodesArgs returns srun's arguments for onNodes. With --input=0, task 0 gets our input.
func (c *Container) onNodesArgs(input string, args ...string) []string {
	all := []string{"--jobid=" + c.Job, "--overlap", "--quiet", "--export=NONE", input, "--ntasks-per-node=1", "--chdir=/"}
	if c.Nodes != "" {
		all = append(all, "--nodelist="+c.Nodes)
	}
	return append(append(all, "--"), args...)
}

// signalProcesses signals every process of the step on its nodes. It lists them twice, to
// reach those that were forked in the meantime.
func (c *Container) signalProcesses(signal string) error {
	const script = `for i in 1 2; do scontrol listpids "$1" | while read -r pid job step rest; do
case $pid in ''|*[!0-9]*) ;; *) [ "$pid" = $$ ] || kill -s "$2" "$pid" 2>/dev/null;; esac; done; done; :`
	_, err := c.onNodes("/bin/sh", "-c", "PATH="+searchPath+"; export PATH\n"+script, "sh", c.Step, signal)
	return err
}

// Processes returns the lines of ps(1) on the container's nodes that are about its step,
// below a heading.
func (c *Container) Processes(options []string) (string, error) {
	if status := c.Status(); status != entry.Running && status != entry.Paused {
		return "", fmt.Errorf("list processes of container %q: %w", c.ID, entry.ErrNotRunning)
	}
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	const script = `scontrol listpids "$1"; echo; shift; exec ps "$@"`
	args := []string{"/bin/sh", "-c", "PATH=" + searchPath + "; export PATH\n" + script, "sh", c.Step}
	out, err := c.onNodes(append(args, options...)...)
	if err != nil {
		return "", fmt.Errorf("list processes of container %q: %w", c.ID, err)
	}
	return linesOf(out), nil
}

// linesOf returns the lines of ps whose PID is in the list before them.
func linesOf(out string) string {
	list, table, _ := strings.Cut(out, "\n\n")
	var pids []string
	for line := range strings.Lines(list) {
		if pid, _, _ := strings.Cut(strings.TrimSpace(line), " "); isNumber(pid) {
			pids = append(pids, pid)
		}
	}
	var b strings.Builder
	column := -1
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if column < 0 {
			column = slices.Index(fields, "PID")
			b.WriteString(line)
			continue
		}
		if column < len(fields) && slices.Contains(pids, fields[column]) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// SetTimeLimit changes the time limit of the container's job, in a format of scontrol(1).
func (c *Container) SetTimeLimit(limit string) error {
	if c.Foreign {
		return fmt.Errorf("update container %q: %w: the job existed before the container", c.ID, ErrUnsupported)
	}
	if _, err := c.Host.output("scontrol", "update", "JobId="+c.Job, "TimeLimit="+limit); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	return nil
}

// Unchanged reports whether the limits of an engine's update ask for no change: Slurm cannot
// change the limits of a running job.
func Unchanged(limits map[string]any) bool {
	for _, value := range limits {
		switch v := value.(type) {
		case map[string]any:
			if !Unchanged(v) {
				return false
			}
		case []any:
			if len(v) > 0 {
				return false
			}
		case float64:
			if v != 0 {
				return false
			}
		case string:
			if n, err := strconv.Atoi(v); v != "" && (err != nil || n != 0) {
				return false
			}
		case bool, nil:
		default:
			return false
		}
	}
	return true
}
