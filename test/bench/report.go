package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// write prints the tables in markdown.
func (r *results) write(w *bytes.Buffer) {
	many := ""
	if r.scenario.copies > 1 {
		many = ", all together"
	}
	fmt.Fprintf(w, "### %s\n\n", r.scenario.title)
	fmt.Fprintf(w, "Median (quartiles) of %d%s.\n\n", r.scenario.samples, many)
	fmt.Fprint(w, "| | wall, ms | CPU, ms |")
	ratios := r.ratios()
	for _, q := range ratios {
		fmt.Fprintf(w, " %s |", q.title)
	}
	fmt.Fprintf(w, " largest process, MB |\n|---|---|---|%s---|\n", strings.Repeat("---|", len(ratios)))
	for _, name := range r.names {
		fmt.Fprintf(w, "| %s | %v | %v |", name, r.of(name, wall), r.of(name, cpu))
		for _, q := range ratios {
			fmt.Fprintf(w, " %v |", r.ratio(name, q.to, q.of))
		}
		fmt.Fprintf(w, " %s |\n", digits(r.of(name, memory).median))
	}
	for _, reason := range r.left {
		fmt.Fprintf(w, "\nNot measured: %s.\n", reason)
	}
	fmt.Fprintln(w)
}

// A quotient is a column of the table: a figure divided by another contestant's.
type quotient struct {
	title, to string
	of        figure
}

// ratios returns those to contestants that took part.
func (r *results) ratios() []quotient {
	all := []quotient{
		{"wall ÷ " + reference, reference, wall},
		{"CPU ÷ " + reference, reference, cpu},
		{"wall ÷ crun", crun, wall},
		{"CPU ÷ crun", crun, cpu},
		{"CPU ÷ floor", floor, cpu},
	}
	return slices.DeleteFunc(all, func(q quotient) bool { return !slices.Contains(r.names, q.to) })
}

// writePhases traces the runtimes that are built on libcontainer, and prints where their time goes.
func (p place) writePhases(w *bytes.Buffer, all []contestant) error {
	type column struct {
		name    string
		lengths [][]time.Duration
	}
	var columns []column
	for _, user := range []bool{true, false} {
		who := map[bool]string{true: "as a user", false: "as root"}[user]
		for _, name := range []string{ours, reference} {
			c := all[slices.IndexFunc(all, func(c contestant) bool { return c.name == name })]
			lengths, err := p.phasesOf(c, user)
			if err != nil {
				return err
			}
			columns = append(columns, column{name + " " + who, lengths})
		}
	}
	fmt.Fprintf(w, "### Where the time of `run` goes\n\nMedian of %d, in ms, under strace, which slows down what it traces.\n\n| |", phaseSamples)
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(columns)))
	for i, ph := range phases {
		fmt.Fprintf(w, "| %s |", ph.name)
		for _, c := range columns {
			var figures []float64
			for _, length := range c.lengths[i] {
				figures = append(figures, milliseconds(length))
			}
			fmt.Fprintf(w, " %s |", digits(spreadOf(figures).median))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	return nil
}

// writeMachine describes the machine and the contestants.
func writeMachine(w *bytes.Buffer, all []contestant) error {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return err
	}
	var release []byte
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	version, _, _ := strings.Cut(string(release), "-")
	fmt.Fprintf(w, "%d CPUs, Linux %s, %s, %s.\n\n", runtime.NumCPU(), version, distribution(), runtime.Version())
	for _, c := range all {
		info, err := os.Stat(c.program)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "- %s; %s MB\n", c.describe(), digits(float64(info.Size())/1e6))
	}
	fmt.Fprintln(w)
	return nil
}

func distribution() string {
	data, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return "an unknown distribution"
}

// splice replaces the text between the two marks of the document.
func splice(document string, table []byte) error {
	const begin, end = "<!-- measured -->\n", "<!-- end of measured -->"
	data, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	head, rest, found := bytes.Cut(data, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return fmt.Errorf("%s: no marks", document)
	}
	next := slices.Concat(head, []byte(begin), table, []byte(end), tail)
	return os.WriteFile(document, next, 0o644)
}

// idle warns if the machine has other work: ratios tolerate it, figures do not.
func idle() error {
	f, err := os.Open("/proc/loadavg")
	if err != nil {
		return err
	}
	defer f.Close()
	var load float64
	if _, err := fmt.Fscan(bufio.NewReader(f), &load); err != nil {
		return err
	}
	if load > float64(runtime.NumCPU())/2 {
		return fmt.Errorf("the load of this machine is %.1f", load)
	}
	return nil
}
