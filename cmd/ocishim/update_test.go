package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// updates are the options of update, in an order that the kernel accepts. With each come the cgroup
// file that shows it and the content of that file, for cgroup v1 and v2.
var updates = []struct{ option, v1, want, v2, want2 string }{
	{"--memory=64m", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"},
	{"--memory-swap=96m", "memory.memsw.limit_in_bytes", "100663296", "memory.swap.max", "33554432"},
	{"--memory-reservation=10m", "memory.soft_limit_in_bytes", "10485760", "memory.low", "10485760"},
	{"--cpu-period=50000", "cpu.cfs_period_us", "50000", "cpu.max", "max 50000"},
	{"--cpu-quota=20000", "cpu.cfs_quota_us", "20000", "cpu.max", "20000 50000"},
	{"--cpu-burst=5000", "cpu.cfs_burst_us", "5000", "cpu.max.burst", "5000"},
	{"--cpu-share=2048", "cpu.shares", "2048", "cpu.weight", ""},
	{"--cpu-rt-period=500000", "cpu.rt_period_us", "500000", "", ""},
	{"--cpu-rt-runtime=1000", "cpu.rt_runtime_us", "1000", "", ""},
	{"--cpuset-cpus=0", "cpuset.cpus", "0", "cpuset.cpus", "0"},
	{"--cpuset-mems=0", "cpuset.mems", "0", "cpuset.mems", "0"},
	{"--blkio-weight=123", "blkio.bfq.weight", "123", "io.bfq.weight", "default 123"},
	{"--pids-limit=17", "pids.max", "17", "pids.max", "17"},
	{"--memory-swap=-1", "memory.memsw.limit_in_bytes", "9223372036854771712", "memory.swap.max", "max"},
	{"--memory=-1", "memory.limit_in_bytes", "9223372036854771712", "memory.max", "max"},
	{"--cpu-quota=-1", "cpu.cfs_quota_us", "-1", "cpu.max", "max 50000"},
	{"--pids-limit=-1", "pids.max", "max", "pids.max", "max"},
}

// Each option of update takes effect in the container's cgroup.
func TestUpdateOptions(t *testing.T) {
	t.Parallel()
	pid, update := updated(t)
	for _, u := range updates {
		name, want := u.v1, u.want
		path := cgroupFile(t, pid, name)
		if path == "" {
			if name, want = u.v2, u.want2; name != "" {
				path = cgroupFile(t, pid, name)
			}
		}
		if path == "" || strings.HasPrefix(name, "cpu.rt_") && !hasRealtime(path) {
			t.Logf("%s: this node cannot", u.option)
			continue
		}
		if err := update(u.option); err != "" {
			t.Errorf("%s: %s", u.option, err)
		}
		if got := readLine(t, path); got != want && want != "" {
			t.Errorf("%s: %s is %q, want %q", u.option, name, got, want)
		}
	}
	// A refusal by the kernel is reported in its words, and nothing changes.
	if err := update("--cpuset-mems=99"); !strings.Contains(err, "cpuset.mems: ") {
		t.Errorf("--cpuset-mems=99: %q", err)
	}
	for _, option := range []string{"--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=50"} {
		if err := update(option); !strings.Contains(err, "this container has no Intel RDT: the host lacks it, or config.json does not ask for it") {
			t.Errorf("%s: %q", option, err)
		}
	}
}

// A container that runs only when the CPUs are otherwise idle has no weight. A weight that it had
// before does not disturb later updates, and it gets one when it is like others again.
func TestUpdateIdle(t *testing.T) {
	t.Parallel()
	pid, update := updated(t)
	idle := cgroupFile(t, pid, "cpu.idle")
	if idle == "" {
		skip(t, "this kernel has no cpu.idle")
	}
	share := filepath.Join(filepath.Dir(idle), "cpu.shares")
	usual, want := "1024", "300"
	if _, err := os.Stat(share); err != nil {
		share, usual, want = filepath.Join(filepath.Dir(idle), "cpu.weight"), "100", ""
	}
	for _, step := range []struct {
		options          []string
		idle, share, err string
	}{
		{[]string{"--cpu-share=512"}, "0", "", ""},
		{[]string{"--cpu-idle=1"}, "1", "", ""},
		{[]string{"--pids-limit=17"}, "1", "", ""},
		{[]string{"--cpu-share=512"}, "1", "", "cpu shares cannot be set while cpu.idle is 1"},
		{[]string{"--pids-limit=18"}, "1", "", ""},
		{[]string{"--cpu-idle=0"}, "0", usual, ""},
		{[]string{"--cpu-idle=1"}, "1", "", ""},
		{[]string{"--cpu-idle=0", "--cpu-share=300"}, "0", want, ""},
		{[]string{"--pids-limit=19"}, "0", want, ""},
		{[]string{"--cpu-idle=2"}, "0", want, "cpu.idle"},
	} {
		err := update(step.options...)
		if (err == "") != (step.err == "") || !strings.Contains(err, step.err) {
			t.Errorf("%v: %q, want %q", step.options, err, step.err)
		}
		if got := readLine(t, idle); got != step.idle {
			t.Errorf("%v: cpu.idle is %q, want %q", step.options, got, step.idle)
		}
		if got := readLine(t, share); got != step.share && step.share != "" {
			t.Errorf("%v: %s is %q, want %q", step.options, filepath.Base(share), got, step.share)
		}
	}
}

// updated starts a container. It returns the pid, and a function that calls update and returns what
// that prints.
func updated(t *testing.T) (string, func(options ...string) string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make cgroups here; the suite runs as root, too")
	}
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	dir, state, id := t.TempDir(), filepath.Join(t.TempDir(), "state"), uniqueID()
	mark := "OCISHIM_TEST=" + state
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args, spec.Process.Env = []string{"sleep", "600"}, append(spec.Process.Env, mark)
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
	// Not a pipe of the test, since the container would hold it.
	if err := ocishim("--root", state, "create", "-b", dir, "--pid-file", filepath.Join(dir, "pid"), id).Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ocishim("--root", state, "delete", "--force", id).Run() })
	if out, err := ocishim("--root", state, "start", id).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return readLine(t, filepath.Join(dir, "pid")), func(options ...string) string {
		out, err := ocishim(slices.Concat([]string{"--root", state, "update"}, options, []string{id})...).CombinedOutput()
		if status := statusOf(err); (status == 1) != (len(out) > 0) || status > 1 {
			t.Errorf("update %v: %v, but it says %q", options, err, out)
		}
		return string(out)
	}
}

// cgroupFile returns the path of a file of the process's cgroup; empty if the kernel lacks it.
func cgroupFile(t *testing.T, pid, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", pid, "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		path := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(parts[1], "name="), parts[2], name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// hasRealtime reports whether the cgroup above has realtime to give.
func hasRealtime(path string) bool {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "..", "cpu.rt_runtime_us"))
	return err == nil && strings.TrimSpace(string(data)) != "0"
}

func readLine(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
