package slurm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Expand returns these errors wrapped with the character and the pattern.
var (
	ErrUnknownPattern = errors.New("unknown replacement character")
	ErrNoValue        = errors.New("value not known here")
)

// Values are the values of the %-patterns of oci.conf(5). An empty string means that the value is
// unknown.
type Values struct {
	Bundle string // %b
	Cwd    string // %Z, the job's working directory
	Job    string // %j
	Node   string // %n
	Rootfs string // %r
	Step   string // %s
	Task   string // %t, the task's number on its node
	User   string // %u
	UID    string // %U
}

// Values reads the values from a task's environment, by the names that slurmstepd sets (srun(1),
// OUTPUT ENVIRONMENT VARIABLES). A job's environment without a step number belongs to its batch
// script.
func (e Environment) Values() Values {
	v := Values{
		Job:  first(e["SLURM_JOB_ID"], e["SLURM_JOBID"]),
		Node: e["SLURMD_NODENAME"],
		Step: unsigned(first(e["SLURM_STEP_ID"], e["SLURM_STEPID"])),
		Task: e["SLURM_LOCALID"],
		User: e["SLURM_JOB_USER"],
		UID:  e["SLURM_JOB_UID"],
		Cwd:  e["SLURM_SUBMIT_DIR"],
	}
	if v.Step == "" && v.Job != "" {
		v.Step = strconv.FormatUint(uint64(BatchStep), 10)
	}
	if v.Task == "" && v.Step == strconv.FormatUint(uint64(BatchStep), 10) {
		v.Task = "0"
	}
	return v
}

// unsigned returns the number of a step as %s has it: Slurm 26.05 sets SLURM_STEP_ID to -5 in a
// batch script, and not at all before.
func unsigned(step string) string {
	if n, err := strconv.ParseInt(step, 10, 32); err == nil && n < 0 {
		return strconv.FormatUint(uint64(uint32(n)), 10)
	}
	return step
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Expand replaces the %-patterns of oci.conf(5) that are usable in a path or an id: %% %b %j %n %r
// %s %t %u %U %Z. Any other character after a '%' is ErrUnknownPattern, as it is fatal to Slurm; a
// pattern without a known value is ErrNoValue.
//
// The result is never expanded again. A value that would add a path element to an id or path ("..",
// or a '/' in a name) is refused.
func Expand(pattern string, v Values) (string, error) {
	if !strings.Contains(pattern, "%") {
		return pattern, nil
	}
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			out.WriteByte(pattern[i])
			continue
		}
		i++
		if i == len(pattern) {
			return "", fmt.Errorf("expand %q: '%%' at the end: %w", pattern, ErrUnknownPattern)
		}
		value, err := v.value(pattern[i])
		if err != nil {
			return "", fmt.Errorf("expand %%%c in %q: %w", pattern[i], pattern, err)
		}
		out.WriteString(value)
	}
	return out.String(), nil
}

func (v Values) value(char byte) (string, error) {
	switch char {
	case '%':
		return "%", nil
	case 'b':
		return known(v.Bundle)
	case 'r':
		return known(v.Rootfs)
	case 'Z':
		return known(v.Cwd)
	case 'j':
		return name(v.Job)
	case 'n':
		return name(v.Node)
	case 's':
		return name(v.Step)
	case 't':
		return name(v.Task)
	case 'u':
		return name(v.User)
	case 'U':
		return name(v.UID)
	}
	return "", ErrUnknownPattern
}

func known(value string) (string, error) {
	if value == "" {
		return "", ErrNoValue
	}
	return value, nil
}

// name checks a value that must remain one element of a path: it may come from the job's
// environment, which the user writes.
func name(value string) (string, error) {
	if value == "." || value == ".." || strings.ContainsAny(value, "/\x00") {
		return "", fmt.Errorf("value %q is not a name", value)
	}
	return known(value)
}

// FromStep fills in unknown values from the task that an id names.
func (v Values) FromStep(s Step) Values {
	v.Job = first(v.Job, strconv.FormatUint(uint64(s.Job), 10))
	v.Step = first(v.Step, strconv.FormatUint(uint64(s.Step), 10))
	v.Task = first(v.Task, strconv.Itoa(s.Task))
	v.Node = first(v.Node, s.Node)
	v.User = first(v.User, s.User)
	return v
}
