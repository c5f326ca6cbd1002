//go:build integration

package integration

import (
	"strings"
	"testing"
)

// TestDemo runs `make demo` as root: a user's containers on real Slurm, from a bundle and from a
// registry.
func TestDemo(t *testing.T) {
	prepare(t)
	besideOthers(t)
	out := mustRun(t, "hack/demo")
	for _, line := range []string{"alice", "hello, alice, in job 4 on n1", "this is ocishim demo bundle", "hello from the image", "MANIFEST_UNKNOWN"} {
		if !strings.Contains(out, line) {
			t.Errorf("the demo does not show %q:\n%s", line, out)
		}
	}
}
