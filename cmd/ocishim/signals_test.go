package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// output collects what a program prints while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startRun starts `ocishim run` with the command and waits until that prints ready. Its processes
// have the mark in their environment.
func startRun(t *testing.T, id string, env string, command ...string) (cmd *exec.Cmd, out *output, mark string) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	mark = "TEST_OF_STATE=" + state
	t.Cleanup(func() {
		_ = ocishim("--root", state, "delete", "--force", id).Run()
		checkNothingLeft(t, state, mark)
	})
	out = new(output)
	cmd = ocishim("--root", state, "run", "--profile", "oci", "-b", bundleOf(t, env, mark, command...), id)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if !wait(15*time.Second, func() bool { return strings.Contains(out.String(), "ready") }) {
		t.Fatalf("it does not begin: %q", out)
	}
	return cmd, out, mark
}

// counter is a shell script that counts its signals one by one, and prints their number at TERM.
const counter = `n=0; trap 'n=$((n+1)); echo signal $n' USR1; trap 'echo got $n; exit 9' TERM; echo ready; while :; do sleep 0.02; done`

// A signal to the caller reaches the application once, in a Slurm task as in any other container.
func TestSignalsAreForwardedOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds(t) {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			cmd, out, _ := startRun(t, kind.id(), kind.env, "sh", "-c", counter)
			for i := range 3 {
				if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
					t.Fatal(err)
				}
				// The kernel merges a signal with one that is not yet handled.
				if !wait(15*time.Second, func() bool { return strings.Contains(out.String(), fmt.Sprintf("signal %d\n", i+1)) }) {
					t.Fatalf("signal %d does not arrive: %q", i+1, out)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			if statusOf(err) != 9 || !strings.Contains(out.String(), "got 3\n") {
				t.Errorf("%v, output %q", err, out)
			}
		})
	}
}

// A signal that arrives while the container is being made is not lost, and ends nothing of ours.
func TestEarlySignal(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	dir := bundleOf(t, "SLURM_JOB_ID=1", "TEST_OF_STATE="+state, "sleep", "600")
	for round := range 8 {
		id := fmt.Sprintf("n1.%s.%d.%d.0", currentUser(t), os.Getpid(), 1000+round)
		cmd := ocishim("--root", state, "run", "-b", dir, id)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pace.Pause(pace.Of(time.Duration(20+10*round) * time.Millisecond))
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		status := make(chan error, 1)
		go func() { status <- cmd.Wait() }()
		select {
		case err := <-status:
			// 1000: the signal itself, before there was a process to pass it to.
			if got := statusOf(err); got != 143 && got != 1000 {
				t.Errorf("round %d: %v, want 143", round, err)
			}
		case <-pace.After(15 * time.Second):
			_ = cmd.Process.Kill()
			t.Fatalf("round %d: the signal is lost", round)
		}
		_ = ocishim("--root", state, "delete", "--force", id).Run()
	}
	_ = ocishim("--root", state, "list").Run() // removes what a killed one has left
	checkNothingLeft(t, state, "TEST_OF_STATE="+state)
}

// A kind is a kind of container: a Slurm task's, or an engine's.
type kind struct {
	name, env string
	id        func() string
}

func kinds(t *testing.T) []kind {
	t.Helper()
	user := currentUser(t)
	return []kind{
		{"slurm", "SLURM_JOB_ID=1", func() string {
			return "n1." + user + "." + strings.TrimPrefix(uniqueID(), "test-") + ".0.0"
		}},
		{"engine", "A=", uniqueID},
	}
}

// TERM ends a Slurm task without a handler. In an engine's container process 1 ignores it, as with
// runc, but not KILL.
func TestDefaultAction(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds(t) {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			cmd, _, mark := startRun(t, kind.id(), kind.env, "sh", "-c", "echo ready; exec sleep 600")
			isSleep := func() bool { return strings.Contains(strings.Join(processesWith(mark), "\n"), `"sleep\x00600\x00"`) }
			if !wait(15*time.Second, isSleep) {
				t.Fatalf("no sleep among %q", processesWith(mark))
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			want := 143
			if kind.name == "engine" {
				want = 137
				if !pace.Quiet(200*time.Millisecond, isSleep) {
					t.Error("TERM ends it")
				}
				if err := exec.Command("pkill", "-KILL", "-P", strconv.Itoa(cmd.Process.Pid)).Run(); err != nil {
					t.Error(err)
				}
			}
			if got := statusOf(cmd.Wait()); got != want {
				t.Errorf("exit status %d, want %d", got, want)
			}
		})
	}
}
