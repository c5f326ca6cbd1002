package scrun

import (
	"bytes"
	"strings"
	"testing"
)

// However the bytes are split, everything but slurmstepd's lines comes out unchanged.
func TestRelay(t *testing.T) {
	const step = "slurmstepd-n1: error: *** STEP 3.7 ON n1 CANCELLED AT 2026-11-21T14:24:48 ***\n"
	const step2605 = "[2026-11-30T12:48:13.666] error: *** STEP 60.0 ON n1 CANCELLED AT 2026-11-30T12:48:13 DUE to SIGNAL Terminated ***\n"
	const oom = "slurmstepd-n1: error: Detected 1 oom_kill event in StepId=1.0. Some of the step tasks have been OOM Killed.\n"
	for name, tt := range map[string]struct{ in, out string }{
		"nothing":          {"", ""},
		"no line end":      {"abc", "abc"},
		"only slurmstepd":  {step, ""},
		"between":          {"a\n" + step + "b\n", "a\nb\n"},
		"out of memory":    {"a\n" + oom, "a\n"},
		"twice":            {step + step + "x", "x"},
		"26.05":            {"a\n" + step2605 + "b\n", "a\nb\n"},
		"26.05, RFC 3339":  {strings.Replace(step2605, ".666]", "+01:00]", 1), ""},
		"26.05, memory":    {"[2026-11-30T12:48:13.666] " + strings.TrimPrefix(oom, "slurmstepd-n1: "), ""},
		"an own log":       {"[2026-11-30T12:48:13] error: none of *** Slurm's\n", "[2026-11-30T12:48:13] error: none of *** Slurm's\n"},
		"an own log, info": {"[2026-11-30T12:48:13] info: *** x\n", "[2026-11-30T12:48:13] info: *** x\n"},
		"like a time":      {"[2026-11-3x] error: *** x\n[\n[1/2]\n", "[2026-11-3x] error: *** x\n[\n[1/2]\n"},
		"in a line":        {"x " + step, "x " + step},
		"begins like it":   {"slurmstepd\nslurmstepd-\nslurm", "slurmstepd\nslurmstepd-\nslurm"},
		"another of its":   {"slurmstepd-n1: hello\n", "slurmstepd-n1: hello\n"},
		"empty lines":      {"\n\n" + step + "\n", "\n\n\n"},
		"binary":           {"\x00\xff\n\x00" + strings.Repeat("y", 5000) + "\n" + step, "\x00\xff\n\x00" + strings.Repeat("y", 5000) + "\n"},
		"long, its prefix": {"slurmstepd-" + strings.Repeat("z", 3000) + "\n", "slurmstepd-" + strings.Repeat("z", 3000) + "\n"},
	} {
		for _, size := range []int{1, 2, 7, 64, 1 << 20} {
			var out bytes.Buffer
			logged := 0
			r := relay{to: &out, log: func(string) { logged++ }}
			r.run(&cut{[]byte(tt.in), size})
			if out.String() != tt.out {
				t.Errorf("%s in pieces of %d: %q, want %q", name, size, out.String(), tt.out)
			}
			if want := strings.Count(tt.in, "\n") - strings.Count(tt.out, "\n"); logged != want {
				t.Errorf("%s in pieces of %d: %d logged, want %d", name, size, logged, want)
			}
		}
	}
}

// Output that cannot be slurmstepd's is not held back: a prompt has no line end.
func TestRelayHoldsNothingBack(t *testing.T) {
	var out bytes.Buffer
	r := relay{to: &out}
	for _, part := range []string{"login: ", "a\nname: ", "x", "\n[alice@n1 ~]$ ", "\n[1/3] ", "\n[2026-11-30 10:00] $ "} {
		before := out.String()
		if err := r.take([]byte(part)); err != nil {
			t.Fatal(err)
		}
		if out.String() != before+part {
			t.Errorf("after %q: %q", part, out.String())
		}
	}
}

// cut is a reader that returns its bytes in pieces.
type cut struct {
	data []byte
	size int
}

func (c *cut) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, errEnd
	}
	n := copy(p, c.data[:min(len(c.data), c.size)])
	c.data = c.data[n:]
	return n, nil
}

var errEnd = bytes.ErrTooLarge // any error is the end
