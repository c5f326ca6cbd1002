package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Without any threads, files or memory left, Go's own runtime would print a page of stacks and exit
// with status 2. Instead, the caller gets a few lines, and the status of a failed launch. The next
// call is not affected.
func TestLimitsOfTheRuntime(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	mark := "TEST_OF_STATE=" + state
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
	dir := bundleOf(t, mark, "A=", "true")
	for _, limit := range []string{"-u 1", "-v 100000", "-v 700000", "-d 60000", "-d 72000", "-d 80000", "-d 110000", "-d 160000", "-n 4", "-n 5", "-n 6", "-n 8", "-n 12"} {
		for _, verb := range [][]string{{"state", "none"}, {"run", "-b", dir, "c"}, {"run", "--profile", "hpc", "-b", dir, "c"}} {
			if os.Getuid() == 0 && strings.HasPrefix(limit, "-u") {
				continue // root has no such limit
			}
			cmd := exec.Command("sh", append([]string{"-c", "ulimit " + limit + "; exec \"$0\" \"$@\"", shared.program(), "--root", state}, verb...)...)
			cmd.Env = []string{"PATH=/usr/bin:/bin"} // Slurm starts it with an empty one
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 125) {
				t.Errorf("ulimit %s: %v: %v: %.300s", limit, verb, err, out)
			}
			if lines := strings.Count(string(out), "\n"); lines > 4 || strings.Contains(string(out), "goroutine") || err != nil && !strings.Contains(string(out), "ocishim: error: ") {
				t.Errorf("ulimit %s: %v: %d lines: %.300s", limit, verb, lines, out)
			}
		}
		if out, err := ocishim("--root", state, "run", "-b", dir, "c").CombinedOutput(); err != nil {
			t.Errorf("the next call, after ulimit %s: %v: %s", limit, err, out)
		}
	}
	sweepAll(t, state)
}
