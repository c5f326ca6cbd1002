package scrun

import "testing"

// The first of Slurm's lists of nodes.
func TestFirstNode(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "n1": "n1", "n1,n2": "n1", "n[1-3,7],m5": "n1", "n[07,09]": "n07", "r[1-2]n[3-4]x": "r1n3x", "a.b-c,d": "a.b-c",
	} {
		if got := firstNode(list); got != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
