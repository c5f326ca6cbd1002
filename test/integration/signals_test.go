//go:build integration

package integration

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// signalScenarios: what Slurm sends reaches the application, and ends what it should end.
var signalScenarios = []scenario{
	{name: "USR1 arrives, once", run: usr1Once},
	{name: "scancel, TERM handler", run: cancelHandled},
	{name: "scancel, no TERM handler", short: true, run: cancelUnhandled},
	{name: "scancel of a batch job, no TERM handler", run: cancelBatch},
	{name: "scancel --signal=KILL, TERM ignored", run: cancelKill},
	{name: "Ctrl-C twice in srun", run: ctrlCTwice},
	{name: "time limit", apart: true, limit: 3 * time.Minute, run: timeLimit},
	{name: "suspend and resume", run: suspend},
}

// killWait is the cluster's KillWait: after this time Slurm sends SIGKILL to what SIGTERM did not
// end.
func killWait() time.Duration { return time.Duration(min(paceOfScripts(), 6)) * 5 * time.Second }

// quickly is how long a cancelled container may take to end: less than KillWait, which would mean
// SIGKILL, and less than runtimes take that retry kill.
func quickly() time.Duration { return killWait() / 2 }

// trapped counts signals until the test makes /out/stop.
const trapped = `n=0; trap 'n=$((n+1)); echo $n >>/out/caught' %s; echo >/out/ready
while [ ! -e /out/stop ]; do sleep 0.05; done; echo ended`

func usr1Once(s *session) {
	if s.mode == "create" {
		s.slurms("signals do not reach containers")
		return
	}
	t := s.begin("alice", nil, nil, s.srun("ro", fmt.Sprintf(trapped, "USR1"))...)
	s.started()
	s.admin("scancel", "--signal=USR1", s.job())
	s.until("USR1 does not arrive", 3*time.Second, func() bool { return s.out("caught") != "" || ended(t) })
	pace.Quiet(500*time.Millisecond, func() bool { return s.out("caught") == "1\n" })
	if got := s.out("caught"); got != "1\n" {
		s.failf("USR1 "+strconv.Itoa(strings.Count(got, "\n"))+" times", "the application caught %q", got)
	}
	s.admin("touch", "/home/alice/out/stop")
	r := s.wait(t)
	s.wantSaid(r, "ended\n")
	s.wantStatus(r, 0)
}

func ended(t *task) bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// cancel cancels the user's job and returns how long its command took to return.
func (s *session) cancel(t *task, flags ...string) time.Duration {
	id := s.job()
	start := time.Now()
	s.admin(append([]string{"scancel"}, append(flags, id)...)...)
	s.wait(t)
	return time.Since(start)
}

func (s *session) wantWithin(took, most time.Duration) {
	if took > most {
		s.failf(fmt.Sprintf("takes %.1f s", took.Seconds()), "the container ended %s after scancel, want less than %s", took, most)
	}
}

// wantQuick expects an end by SIGTERM. With create/start Slurm sends that to one of its own
// processes, which ignores it: only SIGKILL, after KillWait, ends the step.
func (s *session) wantQuick(took time.Duration) {
	if s.mode == "create" {
		s.slurms("SIGTERM does not reach containers")
		s.wantWithin(took, killWait()+quickly())
		return
	}
	s.wantWithin(took, quickly())
}

func cancelHandled(s *session) {
	t := s.begin("alice", nil, nil, s.srun("ro", `trap 'echo handled TERM; echo >/out/handled; exit 0' TERM; echo >/out/ready
while :; do sleep 0.05; done`)...)
	s.started()
	s.wantQuick(s.cancel(t))
	if s.mode != "create" && s.out("handled") == "" {
		s.failf("handler does not run", "no /out/handled")
	}
	if s.mode != "create" && !strings.Contains(t.stdout.String(), "handled TERM\n") {
		s.failf("handler's output lost", "stdout is %q", t.stdout.String())
	}
}

// cancelUnhandled: TERM does not even end an application that is the first process of a pid
// namespace, unless the runtime compensates for that.
func cancelUnhandled(s *session) {
	t := s.begin("alice", nil, nil, s.srun("ro", "echo >/out/ready; exec sleep 1000")...)
	s.started()
	s.wantQuick(s.cancel(t))
}

func cancelBatch(s *session) {
	id := s.submit("echo >/out/ready; sleep 1000; echo not reached", "--container", bundle("alice", "ro"), "-o", "/home/alice/out/out.txt")
	s.files = append(s.files, "/home/alice/out/out.txt")
	s.started()
	start := time.Now()
	s.admin("scancel", id)
	s.until("hangs", time.Hour, func() bool { return strings.TrimSpace(s.admin("squeue", "-h", "-j", id)) == "" })
	s.wantQuick(time.Since(start))
}

// cancelKill: Slurm sends SIGTERM first even in this case.
func cancelKill(s *session) {
	t := s.begin("alice", nil, nil, s.srun("ro", "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo >/out/ready; wait")...)
	s.started()
	s.wantWithin(s.cancel(t, "--signal=KILL"), killWait()+quickly())
}

// ctrlCTwice is srun at a terminal, without --pty: it asks once, then cancels.
func ctrlCTwice(s *session) {
	t := s.atTerminal("alice", 24, 80, s.srun("ro", "echo >/out/ready; exec sleep 1000")...)
	defer t.outer.Close()
	s.started()
	t.send("\x03")
	t.expect("srun does not see Ctrl-C", "one more")
	start := time.Now()
	t.send("\x03")
	s.wait(t.task)
	s.wantQuick(time.Since(start))
}

func timeLimit(s *session) {
	id := s.submit("trap 'echo >/out/handled; exit 0' TERM; echo >/out/ready; while :; do sleep 0.05; done",
		"--container", bundle("alice", "ro"), "-o", "/home/alice/out/out.txt", "--time=0:20")
	s.files = append(s.files, "/home/alice/out/out.txt")
	s.started()
	state, _ := s.jobEnd(id)
	if state != "TIMEOUT" {
		s.failf("job "+state, "job is %s, want TIMEOUT", state)
	}
	if s.mode == "create" {
		s.slurms("SIGTERM does not reach containers")
	} else if s.out("handled") == "" {
		s.failf("handler does not run", "no /out/handled")
	}
}

func suspend(s *session) {
	t := s.begin("alice", nil, nil, s.srun("ro", "echo >/out/ready; while :; do echo >>/out/ticks; sleep 0.02; done")...)
	s.started()
	id := s.job()
	ticks := func() int { return len(s.out("ticks")) }
	s.admin("scontrol", "suspend", id)
	var before int
	s.until("not suspended", 3*time.Second, func() bool {
		before = ticks()
		return pace.Quiet(300*time.Millisecond, func() bool { return ticks() == before })
	})
	if !pace.Quiet(700*time.Millisecond, func() bool { return ticks() == before }) {
		s.failf("not suspended", "%d ticks while suspended", ticks()-before)
	}
	s.admin("scontrol", "resume", id)
	s.until("not resumed", 5*time.Second, func() bool { return ticks() > before+5 })
	s.admin("scancel", "--signal=KILL", id)
	s.wait(t)
}
