package slurm

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

var values = Values{
	Bundle: "/b", Cwd: "/home/alice", Job: "5", Node: "n1", Rootfs: "/b/rootfs",
	Step: "0", Task: "2", User: "alice", UID: "1000",
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                    "",
		"plain":               "plain",
		"%n.%u.%j.%s.%t":      "n1.alice.5.0.2",
		"/run/user/%U/":       "/run/user/1000/",
		"%%U":                 "%U",
		"%Z/%j.out":           "/home/alice/5.out",
		"%b|%r":               "/b|/b/rootfs",
		"100%%":               "100%",
		"%u%u":                "alicealice",
		"näme-%u":             "näme-alice",
		"%%%%%u":              "%%alice",
		"%n.%u.%j.%s.%t.%%.t": "n1.alice.5.0.2.%.t",
	} {
		if got, err := Expand(pattern, values); err != nil || got != want {
			t.Errorf("Expand(%q) = %q, %v, want %q", pattern, got, err, want)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	for _, test := range []struct {
		pattern string
		values  Values
		is      error
		text    string
	}{
		{"%q", values, ErrUnknownPattern, "%q"},
		{"a%", values, ErrUnknownPattern, "at the end"},
		{"%@", values, ErrUnknownPattern, "%@"},
		{"%j", Values{}, ErrNoValue, "%j"},
		{"%Z", Values{}, ErrNoValue, "%Z"},
		{"/run/user/%u", Values{User: "../root"}, nil, "not a name"},
		{"/run/user/%U", Values{UID: ".."}, nil, "not a name"},
		{"%n", Values{Node: "a\x00b"}, nil, "not a name"},
	} {
		got, err := Expand(test.pattern, test.values)
		if err == nil {
			t.Errorf("Expand(%q) = %q, want an error", test.pattern, got)
			continue
		}
		if test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("Expand(%q): error %q, want %v with %q", test.pattern, err, test.is, test.text)
		}
	}
}

// The environment is what Slurm 24.11 wrote for a task and for a batch script.
func TestValuesOfRealSlurm(t *testing.T) {
	for file, want := range map[string]string{
		"testdata/srun-n2-task1.json": "c1.alice.98.0.1",
		"testdata/sbatch.json":        "c1.alice.100.4294967291.0",
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var env []string
		if err := json.Unmarshal(data, &env); err != nil {
			t.Fatal(err)
		}
		e := FromEnv(env)
		if !e.InJob() {
			t.Errorf("%s: not in a job", file)
		}
		if got, err := Expand("%n.%u.%j.%s.%t", e.Values()); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", file, got, err, want)
		}
	}
}

// Slurm 26.05 numbers a batch script's step in its environment, as a negative number.
func TestValuesOfBatchScript(t *testing.T) {
	for variable, want := range map[string]string{"SLURM_STEP_ID=-5": "4294967291", "SLURM_STEPID=-5": "4294967291", "SLURM_STEP_ID=3": "3", "SLURM_STEP_ID=x": "x"} {
		if got := FromEnv([]string{"SLURM_JOB_ID=1", variable}).Values().Step; got != want {
			t.Errorf("%s: step %s, want %s", variable, got, want)
		}
	}
}

func TestFromEnv(t *testing.T) {
	e := FromEnv([]string{"SLURM_JOB_ID=1", "HOME=/h", "SLURMD_NODENAME=n1", "broken"}, []string{"SLURM_JOB_ID=2"})
	if e["SLURM_JOB_ID"] != "2" || e["SLURMD_NODENAME"] != "n1" || len(e) != 2 {
		t.Errorf("FromEnv gives %v", e)
	}
	if FromEnv(nil).InJob() {
		t.Error("an empty environment is in a job")
	}
}

func TestFromStep(t *testing.T) {
	step, err := ParseID("n1.alice.5.0.3")
	if err != nil {
		t.Fatal(err)
	}
	if got := (Values{Job: "9"}).FromStep(step); got.Job != "9" || got.User != "alice" || got.Task != "3" || got.Node != "n1" || got.Step != "0" {
		t.Errorf("FromStep gives %+v", got)
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("/run/user/%U/%u", "alice")
	f.Add("%", "..")
	f.Fuzz(func(t *testing.T, pattern, user string) {
		got, err := Expand(pattern, Values{User: user})
		if err == nil && !strings.Contains(pattern, "%") && got != pattern {
			t.Errorf("Expand(%q) = %q", pattern, got)
		}
		if err == nil && strings.Contains(user, "/") && strings.Contains(got, user) && !strings.Contains(pattern, user) {
			t.Errorf("Expand(%q) took the path %q as a name: %q", pattern, user, got)
		}
	})
}
