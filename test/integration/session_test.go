//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// session is a running scenario: what it started and what the user saw.
type session struct {
	*cluster
	ctx     context.Context
	tasks   []*task
	files   []string // other output that the user saw: output files of batch jobs
	bySlurm string   // what Slurm itself makes impossible here
	noted   []string // figures, for the log
	rootfs  map[string]string
}

func newSession(ctx context.Context, c *cluster) *session {
	s := &session{cluster: c, ctx: ctx, rootfs: map[string]string{}}
	for user := range users {
		if err := c.makeOut(user); err != nil {
			panic(err)
		}
	}
	for _, tree := range c.images() {
		list, err := listing(tree)
		if err != nil {
			panic(err)
		}
		s.rootfs[tree] = list
	}
	return s
}

// images returns the root file systems of all users' bundles.
func (c *cluster) images() []string {
	var all []string
	for _, pattern := range []string{"rootfs", "../image"} {
		found, _ := filepath.Glob(c.onHost("/home/*/bundles/*/" + pattern))
		for _, dir := range found {
			if info, err := os.Lstat(dir); err == nil && info.IsDir() {
				all = append(all, filepath.Clean(dir))
			}
		}
	}
	return all
}

// verdict is what failf panics with; judge turns it into an outcome.
type verdict struct{ few, detail string }

// failf ends the scenario: few words for the table, the rest for the log.
func (s *session) failf(few, format string, args ...any) {
	panic(verdict{few, fmt.Sprintf(format, args...)})
}

// slurms records what Slurm itself makes impossible in this column. A scenario that can check
// nothing else returns after it.
func (s *session) slurms(what string) { s.bySlurm = what }

func (s *session) judge(run func(*session)) (out outcome) {
	defer func() {
		for _, t := range s.tasks {
			t.kill()
		}
		if r := recover(); r != nil {
			v, ok := r.(verdict)
			if !ok {
				panic(r)
			}
			out = outcome{cell: v.few, detail: v.detail, bad: true}
		}
	}()
	run(s)
	if s.bySlurm != "" {
		return outcome{cell: "Slurm's: " + s.bySlurm}
	}
	return outcome{cell: "ok"}
}

// ---- commands ----------------------------------------------------------------

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// task is a command inside the cluster that a user started.
type task struct {
	args   []string
	cmd    *exec.Cmd
	stdout lockedBuffer
	stderr lockedBuffer
	start  time.Time
	shown  chan struct{} // at a terminal: closed when stdout has everything that it showed
	done   chan struct{}
	err    error
	ended  time.Time
}

// result is how a task ended.
type result struct {
	stdout, stderr string
	status         int
	took           time.Duration
}

// begin starts a command as user. Its output is kept, and also written to stdout if that is not
// nil.
func (s *session) begin(user string, stdin io.Reader, stdout io.Writer, args ...string) *task {
	t := &task{args: args, done: make(chan struct{}), start: time.Now()}
	t.cmd = s.command(s.ctx, user, args...)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = stdin, &t.stdout, &t.stderr
	if stdout != nil {
		t.cmd.Stdout = stdout
	}
	s.launch(t)
	return t
}

func (s *session) launch(t *task) {
	if err := t.cmd.Start(); err != nil {
		s.failf("test error", "%v: %v", t.args, err)
	}
	s.tasks = append(s.tasks, t)
	go func() {
		t.err = t.cmd.Wait()
		t.ended = time.Now()
		if t.shown != nil {
			select {
			case <-t.shown:
			case <-pace.After(2 * time.Second): // something else uses the terminal
			}
		}
		close(t.done)
	}()
}

func (t *task) kill() {
	select {
	case <-t.done:
	default:
		_ = t.cmd.Process.Kill()
		<-t.done
	}
}

// wait waits for the task's end. After the scenario's limit it counts as hung.
func (s *session) wait(t *task) result {
	select {
	case <-t.done:
	case <-s.ctx.Done():
	}
	if s.ctx.Err() != nil {
		s.failf("hangs", "%q had not ended after %.0f s", t.args, time.Since(t.start).Seconds())
	}
	r := result{t.stdout.String(), t.stderr.String(), 0, t.ended.Sub(t.start)}
	var exit *exec.ExitError
	if errors.As(t.err, &exit) {
		r.status = exit.ExitCode()
	} else if t.err != nil {
		s.failf("test error", "%q: %v", t.args, t.err)
	}
	return r
}

func (s *session) as(user string, args ...string) result {
	return s.wait(s.begin(user, nil, nil, args...))
}

// admin runs a command as root that must succeed.
func (s *session) admin(args ...string) string {
	out, err := s.asRoot(args...)
	if err != nil {
		s.failf("test error", "%q: %v: %s", args, err, out)
	}
	return out
}

// ---- containers ---------------------------------------------------------------

// srun returns the command line that runs a script in a container of alice's. With create/start,
// which has no standard streams, the output goes to /out.
func (s *session) srun(kind, script string, flags ...string) []string {
	args := append([]string{"srun", "--container", bundle("alice", kind)}, flags...)
	if s.mode == "create" {
		script = "exec >>/out/stdout 2>>/out/stderr; " + script
	}
	return append(args, "bash", "-c", script)
}

// said returns what the script of srun wrote to its standard output.
func (s *session) said(r result) string {
	if s.mode == "create" {
		return s.out("stdout")
	}
	return r.stdout
}

// out returns the content of a file in /out of alice's containers; empty for none.
func (s *session) out(name string) string {
	text, err := os.ReadFile(s.onHost("/home/alice/out/" + name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.failf("test error", "%v", err)
	}
	return string(text)
}

// wantStatus checks an exit status; Slurm's create/start knows only 0.
func (s *session) wantStatus(r result, want int) {
	if s.mode == "create" && want != 0 {
		s.slurms("exit status")
		want = 0
	}
	if r.status != want {
		s.failf(fmt.Sprintf("exit status %d", r.status), "exit status %d, want %d", r.status, want)
	}
}

func (s *session) wantSaid(r result, want string) {
	if got := s.said(r); got != want {
		s.failf("wrong output", "output %q, want %q", cut(got), cut(want))
	}
}

// cut shortens text for messages.
func cut(text string) string {
	if len(text) > 2000 {
		return text[:1000] + " ... " + text[len(text)-1000:]
	}
	return text
}

// ---- waiting -------------------------------------------------------------------

// until polls until true returns true. After the scenario's limit, or after most on a quick
// machine, it fails with few words.
func (s *session) until(few string, most time.Duration, true func() bool) {
	is := false
	pace.Until(most, func() bool {
		is = true()
		return is || s.ctx.Err() != nil
	})
	if !is {
		s.failf(few, "%s: not so after %s", few, pace.Of(most))
	}
}

// started waits for the file ready, which the script in the container makes.
func (s *session) started() {
	s.until("does not start", 10*time.Second, func() bool { return s.out("ready") != "" })
}

// job returns the number of alice's only job. The one before may still be completing.
func (s *session) job() string {
	var id string
	s.until("no job", 10*time.Second, func() bool {
		id = strings.TrimSpace(s.admin("squeue", "-h", "-o", "%A", "--states", "PENDING,CONFIGURING,RUNNING,SUSPENDED", "--user", "alice"))
		return regexp.MustCompile(`^\d+$`).MatchString(id)
	})
	return id
}

// jobEnd waits for a job's end and returns Slurm's state and exit code for it.
func (s *session) jobEnd(id string) (state, code string) {
	s.until("hangs", time.Hour, func() bool {
		show := s.admin("scontrol", "-o", "show", "job", id)
		state = field(show, "JobState")
		code = field(show, "ExitCode")
		return state != "PENDING" && state != "RUNNING" && state != "COMPLETING" && state != "SUSPENDED"
	})
	return state, code
}

func field(line, name string) string {
	for _, word := range strings.Fields(line) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}
