//go:build integration

package integration

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// batchScenarios: the batch script runs in the container. Slurm mounts the script, and its output
// files, at paths that the image may lack.
var batchScenarios = []scenario{
	{name: "batch, read-only rootfs", short: true, run: batch("bare")},
	{name: "batch, writable rootfs", run: batch("rw")},
	{name: "batch, symlinked rootfs", run: batch("link")},
	{name: "job array", run: jobArray},
}

// submit writes a batch script and submits it; its output goes to the user's file out.txt.
func (s *session) submit(script string, flags ...string) (id string) {
	if s.mode == "create" {
		script = "exec >>/out/stdout 2>>/out/stderr\n" + script
	}
	path := "/home/alice/out/script"
	if err := os.WriteFile(s.onHost(path), []byte("#!/bin/bash\n"+script+"\n"), 0o755); err != nil {
		s.failf("test error", "%v", err)
	}
	args := append([]string{"sbatch", "--parsable"}, flags...)
	r := s.as("alice", append(args, path)...)
	if r.status != 0 {
		s.failf("sbatch fails", "exit status %d: %s", r.status, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

func batch(kind string) func(*session) {
	return func(s *session) {
		s.files = append(s.files, "/home/alice/out/out.txt", "/home/alice/out/err.txt")
		id := s.submit("seq 3000; echo container=$(sed s/.*demo.*/container/ /etc/os-release); echo to stderr >&2; exit 4",
			"--container", bundle("alice", kind), "-o", "/home/alice/out/out.txt", "-e", "/home/alice/out/err.txt")
		state, code := s.jobEnd(id)
		stdout, stderr := s.out("out.txt"), quiet(s.out("err.txt"))
		if s.mode == "create" {
			stdout, stderr = s.out("stdout"), s.out("stderr")
		}
		if state == "FAILED" && code == "4:0" || s.mode == "create" && state == "COMPLETED" {
			s.wantLines(stdout, 3000, "container=container")
			if stderr != "to stderr\n" {
				s.failf("stderr wrong", "stderr is %q", cut(stderr))
			}
			if s.mode == "create" {
				s.slurms("exit status")
			}
			return
		}
		s.failf("job "+state+" "+code, "job %s, exit code %s, output %q, errors %q", state, code, cut(stdout), cut(stderr))
	}
}

// wantLines expects the numbers up to n, then one more line.
func (s *session) wantLines(text string, n int, last string) {
	var want strings.Builder
	for i := range n {
		fmt.Fprintln(&want, i+1)
	}
	want.WriteString(last + "\n")
	if text != want.String() {
		s.failf("output incomplete", "%d bytes, want %d: %q", len(text), want.Len(), cut(text))
	}
}

func jobArray(s *session) {
	id := s.submit("echo index=$SLURM_ARRAY_TASK_ID >/out/index.$SLURM_ARRAY_TASK_ID; echo done",
		"--container", bundle("alice", "ro"), "--array", "1-4", "-o", "/home/alice/out/out.%a")
	s.until("hangs", time.Hour, func() bool {
		return strings.TrimSpace(s.admin("squeue", "-h", "--user", "alice")) == ""
	})
	for i := 1; i <= 4; i++ {
		s.files = append(s.files, fmt.Sprintf("/home/alice/out/out.%d", i))
		if got, want := s.out(fmt.Sprintf("index.%d", i)), fmt.Sprintf("index=%d\n", i); got != want {
			s.failf("array tasks missing", "task %d of job %s wrote %q, want %q", i, id, got, want)
		}
		if got := quiet(s.out(fmt.Sprintf("out.%d", i))); s.mode != "create" && got != "done\n" {
			s.failf("wrong output", "task %d of job %s: output %q", i, id, got)
		}
	}
}
