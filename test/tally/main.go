// Tally prints the events of `go test -json` as go test itself would print them, and records
// the time of each test:
//
//	go test -json ./... | tally [-v] [-file FILE]
//
// For a test that passes it prints the last lines, with -v all; for one that fails, all of its
// output. Then it names the tests that were skipped, and those that had not ended when the
// input did. It fails if a test did, or if there was none.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	all := flag.Bool("v", false, "also print what passes, immediately")
	file := flag.String("file", "", "append the seconds that each test and package took to this file")
	flag.Parse()
	// go test is what is being stopped: its last output must still be read.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	t := newTally(os.Stdout, *all)
	err := t.read(os.Stdin)
	t.close()
	if err == nil && *file != "" {
		err = appendTo(*file, t.took)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
	}
	if err != nil || !t.good() {
		os.Exit(1)
	}
}

func appendTo(path string, lines []string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, strings.Join(lines, "")); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// An event is an event of go test: see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of what is built
	Elapsed                       float64
}

// A tally is the result so far.
type tally struct {
	out     io.Writer
	all     bool
	said    map[string]*strings.Builder // by test, of those that have not ended
	running []string                    // in the order of their start
	skipped []string
	took    []string
	passed  int
	failed  int
}

func newTally(out io.Writer, all bool) *tally {
	return &tally{out: out, all: all, said: map[string]*strings.Builder{}}
}

// read follows go test to its end. It prints lines that are not events unchanged: they are go's own
// output.
func (t *tally) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				_, _ = t.out.Write(line)
			} else {
				t.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read go test's events: %w", err)
		}
	}
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "build-fail":
		t.failed++
	case "start", "run":
		t.said[key] = new(strings.Builder)
		t.running = append(t.running, key)
	case "output":
		t.hear(e, key)
	case "pass", "fail", "skip":
		t.end(e, key)
	}
}

// hear prints a package's own output at once, except for what go test says about a package that
// passes, which needs -v.
func (t *tally) hear(e event, key string) {
	closing := e.Test == "" && !strings.HasPrefix(e.Output, "PASS") && !strings.HasPrefix(e.Output, "coverage: ")
	if t.all || closing {
		fmt.Fprint(t.out, e.Output)
	}
	progress := strings.HasPrefix(e.Output, "=== ")
	if said := t.said[key]; said != nil && !closing && !progress {
		said.WriteString(e.Output)
	}
}

func (t *tally) end(e event, key string) {
	said := t.said[key]
	delete(t.said, key)
	if e.Action == "fail" {
		t.failed++
		if said != nil && !t.all {
			fmt.Fprint(t.out, said)
		}
	} else {
		t.passed++
	}
	if e.Action == "skip" && e.Test != "" {
		t.skipped = append(t.skipped, key+reason(said))
	}
	t.took = append(t.took, fmt.Sprintf("%8.1f s  %s\n", e.Elapsed, key))
}

// reason returns why a test was skipped: its last output.
func reason(said *strings.Builder) string {
	if said == nil {
		return ""
	}
	why := ""
	for line := range strings.Lines(said.String()) {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "--- ") {
			why = ": " + text
		}
	}
	return why
}

// close prints the summary that go test does not print itself.
func (t *tally) close() {
	for _, key := range t.running {
		if said := t.said[key]; said != nil {
			t.failed++
			fmt.Fprintf(t.out, "had not ended: %s\n%s", key, said)
		}
	}
	for _, line := range t.skipped {
		fmt.Fprintln(t.out, "skipped:", line)
	}
}

func (t *tally) good() bool { return t.failed == 0 && t.passed > 0 }
