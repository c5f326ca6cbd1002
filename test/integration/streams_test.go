//go:build integration

package integration

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// streamScenarios: the standard streams are the task's.
var streamScenarios = []scenario{
	{name: "stdin, 200 000 lines", short: true, run: stdinLines},
	{name: "stdout, 200 MB", limit: time.Minute, run: stdoutBytes},
	{name: "stderr apart from stdout", run: stderrApart},
}

func stdinLines(s *session) {
	if s.mode == "create" {
		s.slurms("stdin")
		return
	}
	var text bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintln(&text, "line", i)
	}
	want := fmt.Sprintf("%x  -\n", md5.Sum(text.Bytes()))
	r := s.wait(s.begin("alice", &text, nil, s.srun("ro", "md5sum")...))
	s.wantStatus(r, 0)
	s.wantSaid(r, want)
}

// counter counts the bytes written to it, and those that are not an x.
type counter struct{ all, other int }

func (c *counter) Write(p []byte) (int, error) {
	c.all += len(p)
	c.other += len(p) - bytes.Count(p, []byte("x"))
	return len(p), nil
}

func stdoutBytes(s *session) {
	if s.mode == "create" {
		s.slurms("stdout")
		return
	}
	var count counter
	r := s.wait(s.begin("alice", nil, &count, s.srun("ro", `head -c 200000000 /dev/zero | tr '\0' x`)...))
	s.wantStatus(r, 0)
	if count.all != 200_000_000 || count.other != 0 {
		s.failf("lost output", "%d bytes of 200000000, %d of them wrong", count.all, count.other)
	}
}

func stderrApart(s *session) {
	if s.mode == "create" {
		s.slurms("stdout and stderr")
		return
	}
	r := s.as("alice", s.srun("ro", "echo to stdout; echo to stderr >&2")...)
	s.wantStatus(r, 0)
	s.wantSaid(r, "to stdout\n")
	if r.stderr != "to stderr\n" {
		s.failf("stderr wrong", "stderr is %q", r.stderr)
	}
}

// placeScenarios: where tasks run, and for whom.
var placeScenarios = []scenario{
	{name: "four tasks on a node", short: true, run: fourTasks},
	{name: "three nodes", run: threeNodes},
	{name: "user without /run/user", run: otherUser("bob")},
	{name: "user named alice@realm", short: true, run: otherUser("alice@realm")},
	{name: "leaves the image alone", run: imageAlone},
	{name: "64 steps at once", limit: 2 * time.Minute, run: manySteps},
}

func fourTasks(s *session) {
	if s.slurm == "22.05" {
		s.slurms("one task per node")
		return
	}
	r := s.as("alice", s.srun("ro", "echo rank $SLURM_PROCID of $SLURM_NTASKS", "-N1", "-n4")...)
	s.wantStatus(r, 0)
	for rank := range 4 {
		if line := fmt.Sprintf("rank %d of 4\n", rank); strings.Count(s.said(r), line) != 1 {
			s.failf("tasks missing", "not once %q in %q", line, s.said(r))
		}
	}
}

func threeNodes(s *session) {
	r := s.as("alice", s.srun("ro", "echo here; sleep 0.2", "-N3", "-n3", "-l")...)
	s.wantStatus(r, 0)
	if s.mode == "create" {
		s.wantSaid(r, "here\nhere\nhere\n")
		return
	}
	for node := range 3 {
		if line := fmt.Sprintf("%d: here\n", node); !strings.Contains(r.stdout, line) {
			s.failf("nodes missing", "no %q in %q", line, r.stdout)
		}
	}
}

// otherUser: another user also has the files of their groups.
func otherUser(user string) func(*session) {
	return func(s *session) {
		const project = 3000 // made by hack/cluster
		file := s.onHost("/home/" + user + "/out/of-project")
		if err := errors.Join(os.WriteFile(file, nil, 0o040), os.Chmod(file, 0o040), os.Chown(file, 0, project)); err != nil {
			s.failf("no file", "%v", err)
		}
		r := s.as(user, "srun", "--container", bundle(user, "ro"), "bash", "-c", "id -u; cat /out/of-project && touch /out/done; exit 3")
		s.wantStatus(r, 3)
		if files, err := listing(s.onHost("/home/" + user + "/out")); err != nil || !strings.Contains(files, "/done") {
			s.failf("did not run", "no /out/done: %v", err)
		}
	}
}

// imageAlone: every scenario checks that nothing is created in an image; in this one the image
// lacks even the mount points for every step.
func imageAlone(s *session) {
	r := s.as("alice", s.srun("bare", "echo fine")...)
	s.wantStatus(r, 0)
	s.wantSaid(r, "fine\n")
}

func manySteps(s *session) {
	step := strings.Join(quote(s.srun("ro", "echo >/out/step.$SLURM_STEP_ID; sleep 1; echo ended", "-n1", "--exact")), " ")
	all := "for i in $(seq 64); do " + step + " & pids+=($!); done; for p in ${pids[@]}; do wait $p || echo failed $?; done"
	r := s.as("alice", "salloc", "-N1", "-n64", "bash", "-c", all)
	s.wantStatus(r, 0)
	files, err := listing(s.onHost("/home/alice/out"))
	if n := strings.Count(files, "/step."); err != nil || n != 64 {
		s.failf(fmt.Sprintf("%d of 64 ran", n), "%d files: %v", n, err)
	}
	if n := strings.Count(s.said(r), "ended\n"); n != 64 || strings.Contains(r.stdout, "failed") {
		s.failf(fmt.Sprintf("%d of 64 ended well", n), "%s", cut(r.stdout))
	}
}

// quote quotes words for a shell.
func quote(words []string) []string {
	var all []string
	for _, word := range words {
		all = append(all, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return all
}
