package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// callersSlack is a timer slack, in nanoseconds, that is no default.
const callersSlack = 123456

// startWithSlack starts the command from a thread that has callersSlack.
func startWithSlack(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: no other goroutine may run on it
		err := unix.Prctl(unix.PR_SET_TIMERSLACK, callersSlack, 0, 0, 0)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
}

// Go's own threads wake up seldom, by a large timer slack. What a container runs, and a hook,
// nevertheless has the caller's timer slack, whatever started it.
func TestTimerSlack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"run", "create", "run in place"} {
		verb, inPlace := strings.CutSuffix(way, " in place")
		if inPlace && os.Getuid() == 0 {
			continue // root's containers are libcontainer's
		}
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			note := func(file string) string { return "read x </proc/self/timerslack_ns; echo $x >" + file + "; " }
			c := newContainer(t, copyImage(t), note("/out/init")+"exec sleep 600").bind(out, "/out")
			hook := specs.Hook{Path: "/bin/bash", Args: []string{"bash", "-c", note(filepath.Join(out, "hook"))}}
			c.spec.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{hook}}
			if inPlace {
				c.ofStepInPlace()
			}
			launch := c.command(verb, c.id)
			startWithSlack(t, launch)
			if verb == "create" {
				if err := launch.Wait(); err != nil {
					t.Fatal(err)
				}
				if err := c.command("start", c.id).Run(); err != nil {
					t.Fatal(err)
				}
			}
			expectSlack(t, filepath.Join(out, "hook"))
			expectSlack(t, filepath.Join(out, "init"))
			added := c.command("exec", c.id, "bash", "-c", note("/out/exec"))
			startWithSlack(t, added)
			if err := added.Wait(); err != nil {
				t.Error(err)
			}
			expectSlack(t, filepath.Join(out, "exec"))
			_ = c.command("delete", "--force", c.id).Run()
			if verb == "run" {
				_ = launch.Wait()
			}
		})
	}
}

// expectSlack waits for the file in which a process has written its timer slack.
func expectSlack(t *testing.T, file string) {
	t.Helper()
	var got string
	if !wait(20*time.Second, func() bool {
		data, _ := os.ReadFile(file)
		got = string(data)
		return strings.HasSuffix(got, "\n")
	}) {
		t.Fatalf("no %s in time", filepath.Base(file))
	}
	if strings.TrimSpace(got) != strconv.Itoa(callersSlack) {
		t.Errorf("%s has a timer slack of %s ns, want %d", filepath.Base(file), strings.TrimSpace(got), callersSlack)
	}
}
