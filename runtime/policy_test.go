package runtime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// State outlives an upgrade: what an earlier version wrote means the same now, and an
// earlier version finds in ours what it looks for.
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
		dir := t.TempDir()
		path := filepath.Join(dir, recordFile)
		if err := os.WriteFile(path, []byte(tt.record), 0o600); err != nil {
			t.Fatal(err)
		}
		r, _, err := readRecord(dir, maxRecord)
		if err != nil {
			t.Fatal(err)
		}
		if r.Lifetime != tt.want.Lifetime || r.Signals != tt.want.Signals || r.Cgroup != tt.want.Cgroup {
			t.Errorf("%s: %+v, want %+v", name, r, tt.want)
		}
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
		if again, _, err := readRecord(dir, maxRecord); err != nil || again.Lifetime != r.Lifetime || again.Signals != r.Signals || again.Cgroup != r.Cgroup {
			t.Errorf("%s, written anew: %+v, %v", name, again, err)
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

// What a later version keeps for a reason of its own is not swept.
func TestLaterLifetime(t *testing.T) {
	r := Record{Lifetime: "of a later version", Supervised: true}
	if r.abandoned() {
		t.Error("a lifetime that is not known ends with the supervisor")
	}
}
