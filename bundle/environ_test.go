package bundle

import "testing"

func TestGetenv(t *testing.T) {
	env := []string{"A=1", "AB=2", "A=3=4", "EMPTY=", "A", "B=5"}
	for _, c := range []struct {
		name, value string
		found       bool
	}{{"A", "3=4", true}, {"AB", "2", true}, {"EMPTY", "", true}, {"B", "5", true}, {"C", "", false}, {"", "", false}} {
		if value, found := Getenv(env, c.name); value != c.value || found != c.found {
			t.Errorf("Getenv(%q) = %q, %v, want %q, %v", c.name, value, found, c.value, c.found)
		}
	}
}
