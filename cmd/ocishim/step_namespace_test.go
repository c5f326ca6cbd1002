package main_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"golang.org/x/sys/unix"
)

// stepRounds are the numbers of tasks started at once, round by round. One round has a task for
// each processor of a large host; the long selection adds rounds of a few tasks. `make stress` sets
// its own rounds.
func stepRounds() []int {
	rounds, err := strconv.Atoi(os.Getenv("OCISHIM_TEST_ROUNDS"))
	tasks, terr := strconv.Atoi(os.Getenv("OCISHIM_TEST_TASKS"))
	if err != nil || terr != nil {
		if pace.All() {
			return []int{128, 24, 24, 24}
		}
		return []int{128}
	}
	return slices.Repeat([]int{tasks}, rounds)
}

// Tasks of a step that start at once are in one user namespace, whichever of them is killed at any
// moment: the survivors share it, and none is lost.
func TestStepNamespace(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root's containers have no user namespace; the tests run as a user, too")
	}
	state := filepath.Join(t.TempDir(), "state")
	mark := "TEST_OF_STATE=" + state
	dir := bundleOf(t, "SLURM_JOB_ID=1", mark, "sleep", "600")
	step := "n1." + currentUser(t) + "." + strconv.Itoa(os.Getpid()) + ".0."
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
	for round, tasks := range stepRounds() {
		commands := make([]*exec.Cmd, tasks)
		var wg sync.WaitGroup
		for i := range commands {
			commands[i] = ocishim("--root", state, "run", "-b", dir, step+strconv.Itoa(i))
			commands[i].Stderr = os.Stderr
			victim := rand.IntN(4) == 0
			wg.Go(func() {
				if err := commands[i].Start(); err != nil {
					t.Error(err)
					return
				}
				if victim {
					pace.Pause(rand.N(pace.Of(100 * time.Millisecond)))
					_ = commands[i].Process.Kill()
				}
			})
		}
		wg.Wait()
		checkOneNamespace(t, round, commands)
		for _, cmd := range commands {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if out, err := ocishim("--root", state, "delete", "--force", step+"-1").CombinedOutput(); err != nil {
			t.Errorf("round %d: delete: %v: %s", round, err, out)
		}
	}
	sweepAll(t, state)
}

// sweepAll runs a further container, which removes what was killed half made: a minute later.
func sweepAll(t *testing.T, state string) {
	t.Helper()
	for _, name := range namesIn(state) {
		old := time.Now().Add(-10 * time.Minute)
		if err := os.Chtimes(filepath.Join(state, name), old, old); err != nil {
			t.Error(err)
		}
	}
	if out, err := ocishim("--root", state, "run", "-b", trueBundle(t), uniqueID()).CombinedOutput(); err != nil {
		t.Errorf("run after: %v: %s", err, out)
	}
}

// checkOneNamespace waits until every task is the application, or was killed.
func checkOneNamespace(t *testing.T, round int, commands []*exec.Cmd) {
	t.Helper()
	namespaces := map[string]int{}
	for _, cmd := range commands {
		proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
		name, killed := "", false
		if !wait(time.Minute, func() bool {
			stat, _ := os.ReadFile(proc + "/stat")
			name, _ = os.Readlink(proc + "/ns/user")
			// While another thread executes, the first one is dead for a moment.
			killed = strings.Contains(string(stat), ") Z ") && processEnded(cmd.Process.Pid)
			return killed || name != "" && strings.Contains(string(stat), "(sleep)")
		}) {
			t.Errorf("round %d: a task does not start", round)
		}
		if killed {
			// Only the test kills: a task that ended otherwise was lost.
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
				t.Errorf("round %d: a task ended: %v", round, err)
			}
			continue
		}
		namespaces[name]++
	}
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	if len(namespaces) != 1 || namespaces[own] > 0 {
		t.Errorf("round %d: tasks by user namespace: %v; that of the test is %s", round, namespaces, own)
	}
}

// processEnded reports whether a child can be waited for.
func processEnded(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// Other steps, and other jobs, have namespaces of their own.
func TestStepsApart(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root's containers have no user namespace; the tests run as a user, too")
	}
	state := filepath.Join(t.TempDir(), "state")
	mark := "TEST_OF_STATE=" + state
	dir := bundleOf(t, "SLURM_JOB_ID=1", mark, "sleep", "600")
	user, job := currentUser(t), os.Getpid()
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
	seen := map[string]bool{}
	for _, id := range []string{
		"n1." + user + "." + strconv.Itoa(job) + ".0.0", "n1." + user + "." + strconv.Itoa(job) + ".1.0",
		"n1." + user + "." + strconv.Itoa(job+1) + ".0.0", "n2." + user + "." + strconv.Itoa(job) + ".0.0",
	} {
		cmd := ocishim("--root", state, "run", "-b", dir, id)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = ocishim("--root", state, "delete", "--force", id).Run()
		})
		checkOneNamespace(t, 0, []*exec.Cmd{cmd})
		name, err := os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = true
	}
	if len(seen) != 4 {
		t.Errorf("four steps are in %d user namespaces", len(seen))
	}
}
