package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A contained is a container as an engine makes it, for tests as root, who can make cgroups.
type contained struct {
	t         *testing.T
	state, id string
	dir       string
	pid       string // of its first process
}

// newContained starts a container that sleeps, configured by change.
func newContained(t *testing.T, change func(*specs.Spec)) *contained {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make cgroups here; the suite runs as root, too")
	}
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	c := &contained{t: t, state: filepath.Join(t.TempDir(), "state"), id: uniqueID(), dir: t.TempDir()}
	mark := "TEST_OF_STATE=" + c.state
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args, spec.Process.Env = []string{"sleep", "600"}, append(spec.Process.Env, mark)
	if change != nil {
		change(spec)
	}
	if err := writeSpec(c.dir, spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkNothingLeft(t, c.state, mark) })
	// A file, not a pipe of the test, since the container would hold it.
	said, err := os.Create(c.file("said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	create := c.command("create", "-b", c.dir, "--pid-file", c.file("pid"), c.id)
	create.Stderr = said
	if err := create.Run(); err != nil {
		t.Fatalf("%v: %s", err, readLine(t, c.file("said")))
	}
	t.Cleanup(func() { _ = c.command("delete", "--force", c.id).Run() })
	c.mustCall("start", c.id)
	c.pid = readLine(t, c.file("pid"))
	return c
}

func (c *contained) file(name string) string { return filepath.Join(c.dir, name) }

func (c *contained) command(args ...string) *exec.Cmd {
	return ocishim(append([]string{"--root", c.state}, args...)...)
}

// call returns what the call prints, and its exit status.
func (c *contained) call(args ...string) (string, int) {
	out, err := c.command(args...).CombinedOutput()
	return string(out), statusOf(err)
}

func (c *contained) mustCall(args ...string) string {
	c.t.Helper()
	out, status := c.call(args...)
	if status != 0 {
		c.t.Fatalf("%v: status %d: %s", args, status, out)
	}
	return out
}

// add adds a process and returns its pid.
func (c *contained) add(command ...string) string {
	c.t.Helper()
	file := c.file("added")
	if err := c.command(slices.Concat([]string{"exec", "--detach", "--pid-file", file, c.id}, command)...).Run(); err != nil {
		c.t.Fatal(err)
	}
	pid := readLine(c.t, file)
	// Frozen before it has executed its program, it would never be completely frozen.
	if !wait(10*time.Second, func() bool { return readLine(c.t, filepath.Join("/proc", pid, "comm")) == filepath.Base(command[0]) }) {
		c.t.Fatalf("process %s does not become %v", pid, command)
	}
	return pid
}

func (c *contained) status() string {
	c.t.Helper()
	var state struct{ Status string }
	if err := json.Unmarshal([]byte(c.mustCall("state", c.id)), &state); err != nil {
		c.t.Fatal(err)
	}
	return state.Status
}

// ended reports whether the process ends soon.
func ended(pid string) bool {
	return wait(10*time.Second, func() bool {
		data, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		return err != nil || strings.Contains(string(data), ") Z ")
	})
}

// Processes that outlive the first process of a container without its own pid namespace still
// belong to the container: ps shows them, kill and delete end them.
func TestFirstProcessGone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		verb []string
	}{
		{"KILL", []string{"kill", "ID", "KILL"}},
		{"all KILL", []string{"kill", "--all", "ID", "KILL"}},
		{"all TERM", []string{"kill", "--all", "ID", "TERM"}},
		{"delete", []string{"delete", "ID"}},
		{"delete --force", []string{"delete", "--force", "ID"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newContained(t, func(spec *specs.Spec) { shareNamespace(spec, specs.PIDNamespace) })
			others := []string{c.add("sleep", "600"), c.add("sleep", "600")}
			first, err := strconv.Atoi(c.pid)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if !wait(10*time.Second, func() bool { return c.status() == "stopped" }) {
				t.Fatal("it does not stop")
			}
			if out, status := c.call("kill", c.id); status != 1 || !strings.Contains(out, "not running") {
				t.Errorf("kill: status %d: %s", status, out)
			}
			var pids []int
			if err := json.Unmarshal([]byte(c.mustCall("ps", "--format", "json", c.id)), &pids); err != nil || len(pids) != len(others) {
				t.Errorf("ps: %v, %v, want %v", pids, err, others)
			}
			verb := slices.Clone(test.verb)
			verb[slices.Index(verb, "ID")] = c.id
			c.mustCall(verb...)
			for _, pid := range others {
				if !ended(pid) {
					t.Errorf("%v: process %s lives on", test.verb, pid)
				}
			}
			if verb[0] == "delete" {
				return
			}
			if out, status := c.call("kill", c.id, "KILL"); status != 1 || !strings.Contains(out, "not running") {
				t.Errorf("kill of what has ended: status %d: %s", status, out)
			}
			if out := c.mustCall("ps", "--format", "json", c.id); strings.TrimSpace(out) != "[]" {
				t.Errorf("ps of what has ended: %s", out)
			}
			c.mustCall("delete", c.id)
		})
	}
}

// SIGKILL works even if a cgroup below the container's own is frozen, for example by a runtime
// inside.
func TestFrozenBelow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		shares specs.LinuxNamespaceType
		verb   []string
		paused bool
	}{
		{"kill", "", []string{"kill", "ID", "KILL"}, false},
		{"delete", "", []string{"delete", "--force", "ID"}, false},
		{"delete a paused one", "", []string{"delete", "--force", "ID"}, true},
		{"delete without a pid namespace", specs.PIDNamespace, []string{"delete", "--force", "ID"}, false},
		{"kill all without a pid namespace", specs.PIDNamespace, []string{"kill", "--all", "ID", "KILL"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newContained(t, func(spec *specs.Spec) { shareNamespace(spec, test.shares) })
			other := c.add("sleep", "600")
			file, frozen := cgroupFile(t, c.pid, "freezer.state"), "FROZEN"
			if file == "" {
				file, frozen = cgroupFile(t, c.pid, "cgroup.freeze"), "1"
			}
			below := filepath.Join(filepath.Dir(file), "a", "b")
			if err := os.MkdirAll(below, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, set := range [][2]string{{"cgroup.procs", other}, {filepath.Base(file), frozen}} {
				if err := os.WriteFile(filepath.Join(below, set[0]), []byte(set[1]), 0); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { _ = os.WriteFile(filepath.Join(below, filepath.Base(file)), []byte("THAWED"), 0) })
			// cgroup v1 may need more than one try on a busy machine.
			if test.paused && !wait(10*time.Second, func() bool { _, status := c.call("pause", c.id); return status == 0 }) {
				t.Fatal("it cannot be paused")
			}
			verb := slices.Clone(test.verb)
			verb[slices.Index(verb, "ID")] = c.id
			c.mustCall(verb...)
			if !ended(other) || !ended(c.pid) {
				t.Errorf("%v: not all of it has ended", test.verb)
			}
		})
	}
}

// A process that somebody has put into a frozen cgroup elsewhere cannot be killed. delete says so,
// and does not suggest the call that was just made.
func TestFrozenElsewhere(t *testing.T) {
	t.Parallel()
	c := newContained(t, nil)
	file := cgroupFile(t, c.pid, "freezer.state")
	if file == "" {
		t.Skip("with cgroups v2 what is frozen can be killed")
	}
	elsewhere := filepath.Join(filepath.Dir(file), "..", c.id+"-elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(elsewhere) })
	set := func(name, value string) {
		if err := os.WriteFile(filepath.Join(elsewhere, name), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	set("cgroup.procs", c.pid)
	set("freezer.state", "FROZEN")
	t.Cleanup(func() {
		set("freezer.state", "THAWED")
		c.mustCall("delete", "--force", c.id)
	})
	out, status := c.call("delete", "--force", c.id)
	if status != 1 || !strings.Contains(out, "because the cgroup "+filepath.Clean(elsewhere)+", which is not the container's, is frozen") {
		t.Errorf("status %d: %s", status, out)
	}
	if strings.Contains(out, "--force") {
		t.Errorf("it proposes what was called: %s", out)
	}
}
