package runtime

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/ocishim/ocishim/internal/entry"
)

// State outlives an upgrade: a record of an earlier version means the same now, and an
// earlier version finds in our records the fields that it knows.
func TestPoliciesOfEarlierVersions(t *testing.T) {
	for name, tt := range map[string]struct {
		record string
		want   Policies
	}{
		"engine":           {`{"id": "a"}`, ForEngine(false)},
		"kept":             {`{"id": "a", "kept": true}`, ForEngine(true)},
		"Slurm task":       {`{"id": "a", "step": true}`, ForSlurmTask(false)},
		"Slurm task, kept": {`{"id": "a", "step": true, "kept": true}`, ForSlurmTask(true)},
	} {
		s := testStore(t)
		c := &Container{entry: s.root.Named("a")}
		path := c.entry.File(entry.RecordFile)
		if err := errors.Join(os.Mkdir(c.dir(), 0o700), os.WriteFile(path, []byte(tt.record), 0o600)); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"read", "written anew"} {
			if err := c.read(entry.MaxRecord); err != nil {
				t.Fatal(err)
			}
			if c.Lifetime != tt.want.Lifetime || c.Signals != tt.want.Signals || c.Cgroup != tt.want.Cgroup {
				t.Errorf("%s, %s: %+v, want %+v", name, when, c.Record, tt.want)
			}
			if err := c.write(); err != nil {
				t.Fatal(err)
			}
		}
		var earlier, before map[string]any
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &earlier); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(tt.record), &before); err != nil {
			t.Fatal(err)
		}
		if earlier["step"] != before["step"] || earlier["kept"] != before["kept"] {
			t.Errorf("%s: an earlier version finds %s", name, data)
		}
	}
}

// An entry with a lifetime of a later version is not swept.
func TestLaterLifetime(t *testing.T) {
	r := Record{Lifetime: "of a later version", Supervised: true}
	if r.abandoned() {
		t.Error("a lifetime that is not known ends with the supervisor")
	}
}
