package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		want    spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{5, 1, 3, 2, 4}, spread{2, 3, 4}},
		{[]float64{4, 1, 2, 3}, spread{1.75, 2.5, 3.25}},
	} {
		if got := spreadOf(c.figures); got != c.want {
			t.Errorf("spread of %v is %v, want %v", c.figures, got, c.want)
		}
	}
}

// A ratio compares measurements of the same round: if the machine gets slower, no ratio changes.
func TestRatioByRounds(t *testing.T) {
	r := &results{samples: map[string][]sample{}}
	for _, slowness := range []time.Duration{1, 2, 10} {
		r.samples["a"] = append(r.samples["a"], sample{wall: 20 * slowness})
		r.samples["b"] = append(r.samples["b"], sample{wall: 10 * slowness})
	}
	if got := r.ratio("a", "b", wall); got != (spread{2, 2, 2}) {
		t.Errorf("ratio is %v, want 2", got)
	}
}

func TestReadTrace(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	lines := []string{
		`7 100.000000 execve("/bin/ocishim", ["ocishim", "run"], 0x7ff /* 3 vars */) = 0`,
		`7 100.001000 memfd_create("runc_cloned:/proc/self/exe", MFD_CLOEXEC) = 18`,
		`7 100.001500 clone(child_stack=NULL, flags=CLONE_VM|CLONE_PIDFD|CLONE_VFORK) = 8`,
		`7 100.003000 clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK|SIGCHLD <unfinished ...>`,
		`9 100.006000 execve("/proc/self/fd/6", ["ocishim", "init"], 0x8 /* 7 vars */) = 0`,
		`10 100.010000 setsid() = 1`,
		`10 100.015000 mount("", "/", 0x2, MS_REC|MS_SLAVE, NULL) = 0`,
		`10 100.021000 mount("/proc/bus", "/proc/bus", 0x2, MS_BIND, NULL) = 0`,
		`10 100.028000 execve("/usr/bin/true", ["true"], 0x2 /* 3 vars */) = 0`,
		`10 100.036000 exit_group(0) = ?`,
		`7 100.045000 +++ exited with 0 +++`,
	}
	if err := os.WriteFile(trace, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lengths, err := readTrace(trace)
	if err != nil {
		t.Fatal(err)
	}
	for i, length := range lengths {
		if want := time.Duration(i+1) * time.Millisecond; i > 1 && length != want {
			t.Errorf("%s took %v, want %v", phases[i].name, length, want)
		}
	}
	if err := os.WriteFile(trace, []byte(strings.Join(lines[:5], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readTrace(trace); err == nil {
		t.Error("a trace without an end is read")
	}
}
