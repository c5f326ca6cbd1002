package scrun

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/process"
)

// lookEvery is how often an anchor checks whether salloc still has its command. lonelyFor is
// how many times in a row it must find none before it asks Slurm about the job.
const (
	lookEvery = 2 * time.Second
	lonelyFor = 3
)

// lookAfterSalloc kills a salloc that hangs although its command and its job have ended. This
// happens if both end at the same moment, for example when one of the job's nodes is lost.
// While slurmctld does not answer, salloc is left alone: it waits for that.
func (a *anchor) lookAfterSalloc() {
	if a.c.Foreign || a.launch.IsZero() || hasChild(a.child.Process.Pid) {
		a.lonely = 0
		return
	}
	a.lonely++
	if a.lonely%lonelyFor != 0 {
		return
	}
	if states, err := a.c.Host.jobStates(a.c.Job); err == nil && isOver(states) {
		_ = a.child.Process.Kill()
	}
}

// isOver reports whether a job in these states has ended. A job that Slurm has forgotten has
// no states.
func isOver(states []string) bool {
	for _, state := range states {
		if _, ended := jobEnds[state]; ended || state == "COMPLETED" || state == "FAILED" {
			return true
		}
	}
	return len(states) == 0
}

// hasChild reports whether the process has a child that runs. If the kernel does not say, it
// assumes so.
func hasChild(pid int) bool {
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, path := range lists {
		data, _ := os.ReadFile(path)
		for child := range strings.FieldsSeq(string(data)) {
			n, err := strconv.Atoi(child)
			if err != nil {
				continue
			}
			if st, err := process.ReadStat(n); err == nil && !st.Ended() {
				return true
			}
		}
	}
	return len(lists) == 0
}
