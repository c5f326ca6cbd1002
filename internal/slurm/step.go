// Package slurm knows what Slurm tells a runtime about the task it launches:
// who we are (Step, ParseID, FromEnv) and the %-patterns of oci.conf (Expand).
//
// It reads only what it is given: no file, no environment of the process.
package slurm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Step numbers with a meaning of their own, from Slurm's slurm.h
// (SLURM_EXTERN_CONT, SLURM_BATCH_SCRIPT, SLURM_INTERACTIVE_STEP).
const (
	InteractiveStep uint32 = 4294967290
	BatchStep       uint32 = 4294967291
	ExternStep      uint32 = 4294967292
)

// AllTasks is the task number with which Slurm's cleanup addresses every task
// of a step on this node: %t expands to -1 there (slurmd/slurmstepd/container.c,
// cleanup_container), which some versions print unsigned as 4294967295.
const AllTasks = -1

// ErrNotStep reports an id that is not of the form NODE.USER.JOB.STEP.TASK.
var ErrNotStep = errors.New("not a Slurm task id")

// A Step names one task of a Slurm step on one node, or all its tasks there.
type Step struct {
	Node string // %n, may hold dots
	User string // %u, may hold dots and '@'
	Job  uint32 // %j
	Step uint32 // %s, see BatchStep and its neighbours
	Task int    // %t, local to the node; AllTasks for every task
}

// ParseID reads a container id made by the pattern %n.%u.%j.%s.%t.
//
// Node and user names may hold dots, so the three numbers are read from the
// right. Where the rest splits into node and user cannot be told from the id
// alone when both hold dots; Node then ends at the first dot, and the whole
// rest is kept, so that ids still compare by Prefix.
// An id of any other shape is ErrNotStep: an engine is calling, not Slurm.
func ParseID(id string) (Step, error) {
	fields := strings.Split(id, ".")
	if len(fields) < 5 {
		return Step{}, ErrNotStep
	}
	n := len(fields)
	job, err := strconv.ParseUint(fields[n-3], 10, 32)
	if err != nil || job == 0 {
		return Step{}, ErrNotStep
	}
	step, err := strconv.ParseUint(fields[n-2], 10, 32)
	if err != nil {
		return Step{}, ErrNotStep
	}
	task, err := parseTask(fields[n-1])
	if err != nil {
		return Step{}, ErrNotStep
	}
	node, user, _ := strings.Cut(strings.Join(fields[:n-3], "."), ".")
	if node == "" || user == "" {
		return Step{}, ErrNotStep
	}
	return Step{Node: node, User: user, Job: uint32(job), Step: uint32(step), Task: task}, nil
}

func parseTask(s string) (int, error) {
	if s == "-1" || s == "4294967295" {
		return AllTasks, nil
	}
	task, err := strconv.ParseUint(s, 10, 31)
	return int(task), err
}

// Prefix is what the ids of all tasks of the step on this node begin with.
func (s Step) Prefix() string {
	return fmt.Sprintf("%s.%s.%d.%d.", s.Node, s.User, s.Job, s.Step)
}

// UserNames lists what the user's name may be, likeliest first: an id whose
// node name holds dots does not say where the node ends.
func (s Step) UserNames() []string {
	names := []string{s.User}
	for rest := s.User; ; {
		_, after, found := strings.Cut(rest, ".")
		if !found || after == "" {
			return names
		}
		names = append(names, after)
		rest = after
	}
}
