package main_test

import (
	"strings"
	"testing"
)

// The header of ps(1) is above its columns: lines that begin with blanks keep them.
func TestPsHeader(t *testing.T) {
	t.Parallel()
	c := newContained(t, nil)
	for _, options := range [][]string{nil, {"-e", "-x"}, {"-o", "pid,comm"}, {"-e", "-o", "comm,pid,ppid"}, {"-ef"}} {
		lines := strings.Split(strings.TrimSuffix(c.mustCall(append([]string{"ps", c.id}, options...)...), "\n"), "\n")
		if len(lines) != 2 {
			t.Errorf("ps %v: %q, want a header and one process", options, lines)
			continue
		}
		// Numbers are right-aligned in their column.
		end := strings.Index(lines[0], "PID") + len("PID")
		if len(lines[1]) < end || !strings.HasSuffix(lines[1][:end], c.pid) {
			t.Errorf("ps %v: the header %q does not fit %q", options, lines[0], lines[1])
		}
	}
}
