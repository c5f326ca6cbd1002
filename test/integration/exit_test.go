//go:build integration

package integration

import (
	"fmt"
	"strings"
	"time"
)

// exitScenarios: the application's exit status is the task's.
var exitScenarios = []scenario{
	{name: "exit status 0", short: true, run: exits("echo ready; exit 0", 0)},
	{name: "exit status 7", short: true, run: exits("echo ready; exit 7", 7)},
	{name: "killed by its own SIGSEGV (139)", run: exits("echo ready; exec segv", 139)},
	{name: "killed by SIGKILL from outside (137)", run: killedFromOutside},
	{name: "command not found (127)", noisy: true, run: cannotRun("no-such-program", 127)},
	{name: "command not executable (126)", noisy: true, run: cannotRun("/etc/passwd", 126)},
}

func exits(script string, status int) func(*session) {
	return func(s *session) {
		r := s.as("alice", s.srun("ro", script)...)
		s.wantSaid(r, "ready\n")
		s.wantStatus(r, status)
	}
}

func killedFromOutside(s *session) {
	t := s.begin("alice", nil, nil, s.srun("ro", "echo >/out/ready; exec sleep 98765")...)
	s.started()
	s.admin("kill", "-KILL", s.find("sleep 98765").pid)
	s.wantStatus(s.wait(t), 137)
}

// find returns the process of a user with that command line.
func (s *session) find(cmdline string) (found process) {
	s.until("no process "+cmdline, 5*time.Second, func() bool {
		for _, p := range s.processes() {
			if p.cmdline == cmdline && p.uid != "0" {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// cannotRun: the container's program itself, without a shell in between.
func cannotRun(program string, status int) func(*session) {
	return func(s *session) {
		r := s.as("alice", "srun", "--container", bundle("alice", "ro"), program)
		if s.mode == "create" {
			s.slurms("exit status and message")
			if r.status == 0 {
				s.failf("exit status 0", "exit status 0 of a program that does not exist")
			}
			return
		}
		if r.status != status {
			s.failf(fmt.Sprintf("exit status %d", r.status), "exit status %d, want %d", r.status, status)
		}
		if !strings.Contains(r.stderr, program) {
			s.failf("no clear error", "the error does not name %s", program)
		}
	}
}
