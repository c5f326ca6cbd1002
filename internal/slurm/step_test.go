package slurm

import (
	"errors"
	"strconv"
	"testing"
)

func TestParseID(t *testing.T) {
	for id, want := range map[string]Step{
		"n1.alice.5.0.0":                        {"n1", "alice", 5, 0, 0},
		"c1.alice.98.0.1":                       {"c1", "alice", 98, 0, 1},
		"c1.alice.100.4294967291.0":             {"c1", "alice", 100, BatchStep, 0},
		"n1.hpcuser.4.4294967290.0":             {"n1", "hpcuser", 4, InteractiveStep, 0},
		"n1.hpcuser.4.4294967292.0":             {"n1", "hpcuser", 4, ExternStep, 0},
		"c1.alice.100.4294967291.-1":            {"c1", "alice", 100, BatchStep, AllTasks},
		"c1.alice.100.4294967291.4294967295":    {"c1", "alice", 100, BatchStep, AllTasks},
		"n1.alice@realm.5.0.12":                 {"n1", "alice@realm", 5, 0, 12},
		"n1.rack2.site.alice.5.0.0":             {"n1", "rack2.site.alice", 5, 0, 0},
		"n1.first.last.4294967294.4294967293.0": {"n1", "first.last", 4294967294, 4294967293, 0},
	} {
		got, err := ParseID(id)
		if err != nil || got != want {
			t.Errorf("ParseID(%q) = %+v, %v, want %+v", id, got, err, want)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, id := range []string{
		"", "web", "alice.5.0.0", ".alice.5.0.0", "n1..5.0.0", "n1.alice.0.0.0", "n1.alice.x.0.0",
		"n1.alice.5.0.-2", "n1.alice.5.0.", "n1.alice.5.0", "n1.alice.4294967296.0.0", "n1.alice.-5.0.0",
		"n1.alice.5.+0.0", "9f2ec1d4b6a0a1b3",
	} {
		if step, err := ParseID(id); !errors.Is(err, ErrNotStep) {
			t.Errorf("ParseID(%q) = %+v, %v, want ErrNotStep", id, step, err)
		}
	}
}

// id returns what ParseID reads.
func id(s Step) string { return s.Prefix() + strconv.Itoa(s.Task) }

func TestPrefix(t *testing.T) {
	for _, want := range []string{"n1.alice.5.0.0", "n1.rack2.alice.5.4294967291.-1"} {
		step, err := ParseID(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := id(step); got != want {
			t.Errorf("%q parses as the id %q", want, got)
		}
	}
}

// A node name with dots does not show where it ends, so the user may be any tail.
func TestUserNames(t *testing.T) {
	step, err := ParseID("n1.rack2.site.alice.5.0.0")
	if err != nil {
		t.Fatal(err)
	}
	got := step.UserNames()
	want := []string{"rack2.site.alice", "site.alice", "alice"}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("UserNames() = %q, want %q", got, want)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("n1.alice.5.0.0")
	f.Add("c1.alice@realm.100.4294967291.-1")
	f.Add("....-1")
	f.Fuzz(func(t *testing.T, text string) {
		step, err := ParseID(text)
		if err != nil {
			return
		}
		again, err := ParseID(id(step))
		if err != nil || again != step {
			t.Errorf("%q parses as %+v, whose id %q parses as %+v, %v", text, step, id(step), again, err)
		}
	})
}
