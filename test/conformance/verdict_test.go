//go:build integration

package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A verdict is what a program's output (TAP 13) and exit status mean.
type verdict struct {
	exit      int
	ok, notOK int
	skipped   int    // included in ok
	complaint string // why it fails although no test does
}

// passes reports whether the program found nothing wrong.
func (v verdict) passes() bool { return v.exit == 0 && v.notOK == 0 && v.complaint == "" }

func (v verdict) String() string {
	switch {
	case v.exit == 124 || v.exit == 137:
		return "takes too long"
	case v.notOK > 0:
		return fmt.Sprintf("%d of %d not ok", v.notOK, v.notOK+v.ok)
	case v.complaint != "":
		return v.complaint
	case v.exit != 0 && v.ok > 0:
		return fmt.Sprintf("exit status %d after %d ok", v.exit, v.ok)
	case v.exit != 0:
		return fmt.Sprintf("exit status %d", v.exit)
	}
	return fmt.Sprintf("ok (%d)", v.ok)
}

// worse reports whether one verdict is worse than another. A program that stops early has fewer
// lines of either kind, which does not count in its favour.
func worse(one, other verdict) bool {
	return other.passes() && !one.passes() || one.notOK > other.notOK && one.ok <= other.ok
}

const (
	noPlan     = "stops half way"         // no plan (1..N) at the end of the tests
	onlySays   = "an error, but no tests" // some programs report only by a remark
	wrongCount = "the plan has another number of tests"
)

// judge reads a program's output. One program may write several series of tests.
func judge(program string, exit int, stdout []byte) verdict {
	v := verdict{exit: exit}
	open, planned, remarked := false, 0, false
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "TAP version"):
			open = true
		case strings.HasPrefix(line, "1.."):
			n, _ := strconv.Atoi(line[3:])
			open, planned = false, planned+n
		case strings.HasPrefix(line, "not ok ") && strings.Contains(line, "# TODO"):
			v.ok++
		case strings.HasPrefix(line, "not ok "):
			v.notOK++
		case strings.HasPrefix(line, "ok "):
			v.ok++
			if strings.Contains(line, "# SKIP") {
				v.skipped++
			}
		case strings.HasPrefix(line, `    "error": "`):
			remarked = true
		}
	}
	// A program that expects the launch to fail prints nothing if it does.
	silent := len(stdout) == 0 && strings.HasSuffix(program, "_fail")
	switch {
	case exit != 0:
	case open || len(stdout) == 0 && !silent:
		v.complaint = noPlan
	case planned != v.ok+v.notOK:
		v.complaint = wrongCount
	case planned == 0 && remarked:
		v.complaint = onlySays
	}
	return v
}

// failures returns the lines of the output that say what is wrong.
func failures(stdout []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(stdout)) {
		word := strings.TrimSpace(line)
		if strings.HasPrefix(line, "not ok ") || strings.HasPrefix(word, `"error": "`) || strings.HasPrefix(word, `"stderr": "`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestJudge(t *testing.T) {
	const head = "TAP version 13\n"
	for _, c := range []struct {
		name, program string
		exit          int
		stdout        string
		want          string
		passes        bool
	}{
		{"all well", "default", 0, head + "ok 1 - a\n  ---\n  {\n    \"error\": \"none\"\n  }\n  ...\nok 2 # SKIP b\n1..2\n", "ok (2)", true},
		{"a failure", "kill", 0, head + "ok 1 - a\nnot ok 2 - b\n1..2\n", "1 of 2 not ok", false},
		{"to do", "mounts", 0, head + "not ok 1 # TODO a\n1..1\n", "ok (1)", true},
		{"quoted output is no result", "hostname", 0, head + "  ---\n  {\n    \"stdout\": \"not ok 1\"\n  }\n  ...\nok 1 - a\n1..1\n", "ok (1)", true},
		{"several series", "linux_cgroups_cpus", 0, head + "ok 1 - a\n1..1\n" + head + "1..0\n", "ok (1)", true},
		{"stopped", "default", 0, head + "ok 1 - a\n", noPlan, false},
		{"silent", "default", 0, "", noPlan, false},
		{"silent as it should be", "process_rlimits_fail", 0, "", "ok (0)", true},
		{"lost tests", "default", 0, head + "ok 1 - a\n1..2\n", wrongCount, false},
		{"a remark only", "hooks", 0, head + "  ---\n  {\n    \"error\": \"MUST\"\n  }\n  ...\n1..0\n", onlySays, false},
		{"no remark", "prestart_fail", 0, head + "1..0\n", "ok (0)", true},
		{"gave up", "mounts", 1, "", "exit status 1", false},
		{"gave up late", "process_capabilities_fail", 1, head + "ok 1 - a\n1..1\n", "exit status 1 after 1 ok", false},
		{"hung", "delete", 124, head, "takes too long", false},
	} {
		got := judge(c.program, c.exit, []byte(c.stdout))
		if got.String() != c.want || got.passes() != c.passes {
			t.Errorf("%s: %q, passes %v; want %q, %v", c.name, got, got.passes(), c.want, c.passes)
		}
	}
}

func TestWorse(t *testing.T) {
	good, bad, early := verdict{ok: 5}, verdict{ok: 3, notOK: 2}, verdict{exit: 1}
	for _, c := range []struct {
		one, other verdict
		want       bool
	}{
		{good, good, false},
		{bad, good, true},
		{good, bad, false},
		{bad, bad, false},
		{early, good, true},
		{early, bad, false},
		{bad, early, false},
		{verdict{ok: 2, notOK: 3}, bad, true},
	} {
		if got := worse(c.one, c.other); got != c.want {
			t.Errorf("worse(%s, %s) is %v", c.one, c.other, got)
		}
	}
}
