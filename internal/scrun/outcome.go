package scrun

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
)

// jobEnds maps Slurm's names for the state of a job to words for how it ended.
var jobEnds = map[string]string{
	"CANCELLED":     "was cancelled",
	"TIMEOUT":       "reached its time limit",
	"DEADLINE":      "reached its deadline",
	"PREEMPTED":     "was preempted by another job",
	"NODE_FAIL":     "lost one of its nodes",
	"BOOT_FAIL":     "could not boot its nodes",
	"OUT_OF_MEMORY": "ran out of memory",
	"REVOKED":       "was revoked",
	"REQUEUED":      "was requeued",
	"LAUNCH_FAILED": "could not be launched",
}

// outcome returns the exit status after salloc's end, which is the container's if it has one,
// and a failure if something other than the container ended the job.
func (a *anchor) outcome(waited error) (status int, failure string) {
	status = statusOf(waited)
	if a.c.Phase == entry.Creating {
		return exitLost, a.whyRefused()
	}
	if a.srun.oom {
		return 128 + int(unix.SIGKILL), fmt.Sprintf("job %s %s", a.c.Job, jobEnds["OUT_OF_MEMORY"])
	}
	if a.srun.exited > 0 && !a.srun.revoked && status < 125 {
		return status, ""
	}
	failure = a.jobEnd()
	if a.srun.exited > 0 {
		return status, failure
	}
	if failure == "" {
		failure = a.whyNotRun()
	}
	return exitLost, failure
}

// jobEnd says how the job ended; it is "" if the container ended it.
func (a *anchor) jobEnd() string {
	if a.c.Job == "" {
		return ""
	}
	states, err := a.c.Host.jobStates(a.c.Job)
	if err != nil {
		return ""
	}
	end, ok := "", false
	for _, state := range states {
		if end, ok = jobEnds[state]; ok {
			break
		}
	}
	if !ok && a.srun.revoked && a.srun.exited == 0 { // salloc says "revoked" after a normal end as well
		end, ok = jobEnds["REVOKED"], true
	}
	if !ok {
		return ""
	}
	return fmt.Sprintf("job %s %s", a.c.Job, end)
}

// whyNotRun returns srun's errors about a container that never ran, or whose end is unknown.
func (a *anchor) whyNotRun() string {
	said := strings.Join(a.srun.errors, "; ")
	switch {
	case a.launch.IsZero():
		return "the process that holds the allocation ended"
	case said == "" && a.c.Started:
		return fmt.Sprintf("job %s: srun ended without a report of how the container ended", a.c.Job)
	case said == "":
		return fmt.Sprintf("job %s: srun did not start the container", a.c.Job)
	}
	return fmt.Sprintf("job %s: srun: %s", a.c.Job, said)
}

// whyRefused returns salloc's errors if there is no allocation.
func (a *anchor) whyRefused() string {
	var errs []string
	for _, line := range a.said {
		if text, ok := strings.CutPrefix(line, "error: "); ok {
			errs = append(errs, text)
		}
	}
	if len(errs) == 0 {
		return "salloc ended without an allocation"
	}
	return strings.Join(errs, "; ")
}

// refusal says whether a job was cancelled while pending, or refused. It is empty without a
// failure, if the container was ended on request.
func (a *anchor) refusal(failure string) string {
	if failure == "" {
		return ""
	}
	for _, line := range a.said {
		if strings.Contains(line, "has been cancelled") {
			return "cancelled"
		}
	}
	return "refused"
}

// statusOf returns the exit status of a command, or exitLost if it did not exit by itself.
func statusOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	return exitLost
}

// wasKilled reports whether a signal ended the command.
func wasKilled(err error) bool {
	var exit *exec.ExitError
	return err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0)
}

func jsonString(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(data)
}
