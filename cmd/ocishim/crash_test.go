package main_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"golang.org/x/sys/unix"
)

// run may be killed at any moment: the container ends with it, and the next call removes what is
// left on disk.
//
// The test is not parallel: every orphan must become a child of this process, and belong to this
// test.
func TestRunIsKilled(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	state := filepath.Join(t.TempDir(), "state")
	dir := sleepingBundle(t, state)
	var ids []string
	kills := 10
	if pace.All() {
		kills = 60
	}
	for round := range kills {
		id := uniqueID()
		if round%2 == 0 {
			id = "n1." + currentUser(t) + "." + strconv.Itoa(os.Getpid()) + "." + strconv.Itoa(round) + ".0"
		}
		ids = append(ids, id)
		after := time.Duration(rand.Int64N(int64(pace.Of(120 * time.Millisecond))))
		killAfter(t, ocishim("--root", state, "run", "--profile", "oci", "-b", dir, id), after)
		if left := awaitOrphans(); len(left) > 0 {
			t.Errorf("round %d, killed after %v: left %q", round, after, left)
		}
	}
	sweepAll(t, state)
	if left := namesIn(state); len(left) > 0 {
		t.Errorf("not swept: %q", left)
	}
	checkNoCgroups(t, ids)
}

func currentUser(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// sleepingBundle makes the bundle of a Slurm task that does not end by itself, and has a child.
func sleepingBundle(t *testing.T, state string) string {
	t.Helper()
	return bundleOf(t, "SLURM_JOB_ID=1", "TEST_OF_STATE="+state, "sh", "-c", "sleep 600 & exec sleep 600")
}

func trueBundle(t *testing.T) string {
	t.Helper()
	return bundleOf(t, "A=", "B=", "true")
}

func bundleOf(t *testing.T, env1, env2 string, command ...string) string {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args = command
	spec.Process.Env = append(spec.Process.Env, env1, env2)
	dir := t.TempDir()
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	return dir
}

func killAfter(t *testing.T, cmd *exec.Cmd, after time.Duration) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pace.Pause(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

// awaitOrphans reaps the orphans that end, and lists those that do not.
func awaitOrphans() []string {
	var left []string
	wait(10*time.Second, func() bool {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
		left = nil
		lists, _ := filepath.Glob("/proc/self/task/*/children")
		for _, path := range lists {
			data, _ := os.ReadFile(path)
			for _, pid := range strings.Fields(string(data)) {
				command, _ := os.ReadFile("/proc/" + pid + "/cmdline")
				left = append(left, pid+" "+string(command))
			}
		}
		return len(left) == 0
	})
	return left
}

// checkNoCgroups looks for cgroups of the containers, which only root can make.
func checkNoCgroups(t *testing.T, ids []string) {
	t.Helper()
	args := []string{"/sys/fs/cgroup", "-maxdepth", "8", "-type", "d", "-name", "no-such-name"}
	for _, id := range ids {
		args = append(args, "-o", "-name", id)
	}
	out, _ := exec.Command("find", args...).Output()
	if len(out) > 0 {
		t.Errorf("cgroups left:\n%s", out)
	}
	for dir := range strings.FieldsSeq(string(out)) {
		_ = os.Remove(dir)
	}
}
