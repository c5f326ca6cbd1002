package scrun

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/process"
)

// lookEvery is how often an anchor looks whether salloc still has its command, and
// lonelyFor how many times it finds none before it asks Slurm for the job.
const (
	lookEvery = 2 * time.Second
	lonelyFor = 3
)

// lookAfterSalloc ends a salloc that hangs: one whose command has ended, and whose job
// has, too. That happens where both ends come at the same moment, as when a node is
// lost. While slurmctld does not answer, it is salloc that waits for it.
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

// isOver tells whether a job of these states has ended; none are those of a job that
// Slurm has forgotten.
func isOver(states []string) bool {
	for _, state := range states {
		if _, ended := jobEnds[state]; ended || state == "COMPLETED" || state == "FAILED" {
			return true
		}
	}
	return len(states) == 0
}

// hasChild tells whether the process has a child that runs; also where the kernel does
// not tell.
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
