package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// A container that was launched in another pid namespace has other pids here. ocishim must not
// conclude that it has ended. It can be seen and ended from the namespaces above its own; from
// elsewhere nothing touches it, or reports that it has ended.
func TestOtherPidNamespace(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	mark := "TEST_OF_STATE=" + state
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
	dir := bundleOf(t, mark, "A=", "sleep", "600")
	id := uniqueID()
	cmd := inPidNamespace("--root", state, "run", "--profile", "oci", "-b", dir, id)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	status := func(out []byte) (s struct {
		Status string
		Pid    int
	},
	) {
		_ = json.Unmarshal(out, &s)
		return s
	}
	if !pace.Until(10*time.Second, func() bool {
		out, _ := ocishim("--root", state, "state", id).Output()
		s := status(out)
		return s.Status == "running" && strings.Contains(readProc(s.Pid, "cmdline"), "sleep")
	}) {
		t.Error("from above it is not seen to run")
	}
	if out, _ := inPidNamespace("--root", state, "state", id).Output(); status(out).Status != "running" || status(out).Pid != 0 {
		t.Errorf("from beside: %s", out)
	}
	for _, verb := range [][]string{{"kill", id, "KILL"}, {"delete", "--force", id}} {
		if out, err := inPidNamespace(append([]string{"--root", state}, verb...)...).CombinedOutput(); err == nil || !strings.Contains(string(out), "pid namespace") {
			t.Errorf("%v from beside: %v: %s", verb, err, out)
		}
	}
	for _, name := range namesIn(state) {
		old := time.Now().Add(-10 * time.Minute)
		_ = os.Chtimes(filepath.Join(state, name), old, old)
	}
	for _, launch := range []*exec.Cmd{
		ocishim("--root", state, "run", "-b", trueBundle(t), uniqueID()),
		inPidNamespace("--root", state, "run", "--profile", "oci", "-b", trueBundle(t), uniqueID()),
	} {
		if out, err := launch.CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", launch.Args, err, out)
		}
		if _, err := os.Stat(filepath.Join(state, id)); err != nil {
			t.Fatalf("its state is gone while it runs, after %v", launch.Args)
		}
	}
	if out, err := ocishim("--root", state, "kill", id, "KILL").CombinedOutput(); err != nil {
		t.Errorf("kill from above: %v: %s", err, out)
	}
	select {
	case <-ended:
	case <-pace.After(10 * time.Second):
		t.Error("it does not end")
	}
	if out, err := ocishim("--root", state, "delete", "--force", id).CombinedOutput(); err != nil {
		t.Errorf("delete: %v: %s", err, out)
	}
}

// inPidNamespace calls ocishim in a new pid namespace.
func inPidNamespace(args ...string) *exec.Cmd {
	options := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		options = append(options, "--user", "--map-root-user")
	}
	return exec.Command("unshare", append(append(options, shared.program()), args...)...)
}

func readProc(pid int, name string) string {
	data, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	return string(data)
}
