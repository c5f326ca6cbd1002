// Package slurm reads what Slurm says about the task that a runtime launches: which task it is
// (Step, ParseID, FromEnv), and the %-patterns of oci.conf (Expand).
//
// It reads only its arguments, no file and no environment of the process.
package slurm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// These step numbers have a special meaning in Slurm's slurm.h (SLURM_EXTERN_CONT,
// SLURM_BATCH_SCRIPT, SLURM_INTERACTIVE_STEP).
const (
	InteractiveStep uint32 = 4294967290
	BatchStep       uint32 = 4294967291
	ExternStep      uint32 = 4294967292
)

// AllTasks is the task number by which Slurm's cleanup addresses all tasks of a step on this host:
// there %t expands to -1 (slurmd/slurmstepd/container.c, cleanup_container), which some versions
// print unsigned, as 4294967295.
const AllTasks = -1

// ErrNotStep reports an id that is not of the form NODE.USER.JOB.STEP.TASK.
var ErrNotStep = errors.New("not a Slurm task id")

// A Step names one task of a Slurm step on one compute node, or all its tasks there.
type Step struct {
	Node string // %n, may hold dots
	User string // %u, may hold dots and '@'
	Job  uint32 // %j
	Step uint32 // %s, see BatchStep and its neighbours
	Task int    // local to the compute node; AllTasks for every task
}

// ParseID reads a container id made by the pattern %n.%u.%j.%s.%t.
//
// Node and user names may contain dots, so the three numbers are read from the right. If both names
// contain dots, the id alone does not show where the rest splits into node and user. Node then ends
// at the first dot. The whole rest is kept, so that ids still compare by Prefix. An id of any other
// form is ErrNotStep: the caller is an engine, not Slurm.
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

// Prefix returns the beginning that the ids of all tasks of the step on this host share.
func (s Step) Prefix() string {
	return fmt.Sprintf("%s.%s.%d.%d.", s.Node, s.User, s.Job, s.Step)
}

// UserNames lists the possible names of the user, likeliest first: if the node name contains dots,
// the id does not show where it ends.
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
