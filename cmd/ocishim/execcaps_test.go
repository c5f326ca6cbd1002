package main_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// exec --cap gives the capability to root. Another user gets it only if config.json makes it
// inheritable, by the ambient set.
func TestExecCapability(t *testing.T) {
	t.Parallel()
	const kill, syslog = "0000000000000020", "0000000400000000"
	for _, test := range []struct {
		name, user, cap      string
		inheritable          []string
		effective, inherited string
		ambient              string
	}{
		{"root", "0:0", "CAP_SYSLOG", nil, "0000000400000020", "0000000000000000", "0000000000000000"},
		{"a user", "1000:1000", "CAP_SYSLOG", nil, "0000000000000000", "0000000000000000", "0000000000000000"},
		{"a user, inherited", "1000:1000", "CAP_SYSLOG", []string{"CAP_SYSLOG"}, syslog, syslog, syslog},
		{"a user, another inherited", "1000:1000", "CAP_SYSLOG", []string{"CAP_KILL"}, "0000000000000000", kill, "0000000000000000"},
		{"a user, one that there was", "1000:1000", "CAP_KILL", []string{"CAP_KILL"}, kill, kill, kill},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newContained(t, func(spec *specs.Spec) {
				sets := &specs.LinuxCapabilities{Inheritable: test.inheritable}
				sets.Bounding, sets.Permitted, sets.Effective = []string{"CAP_KILL", "CAP_SYSLOG"}, []string{"CAP_KILL"}, []string{"CAP_KILL"}
				spec.Process.Capabilities = sets
			})
			out := c.mustCall("exec", "--cap", test.cap, "--user", test.user, c.id, "cat", "/proc/self/status")
			for name, want := range map[string]string{"CapEff": test.effective, "CapInh": test.inherited, "CapAmb": test.ambient} {
				if got := statusField(out, name); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
		})
	}
}

// statusField returns the value of a line in a text such as /proc/PID/status.
func statusField(text, name string) string {
	lines := strings.Split(text, "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, name+":") })
	if at < 0 {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(lines[at], name+":"))
}
