//go:build integration

package conformance

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// totals sums up a runtime's column, without chance.
type totals struct{ passing, ok, notOK int }

func (s totals) String() string {
	return fmt.Sprintf("%d of %d programs pass, %d ok, %d not ok", s.passing, programCount-1, s.ok, s.notOK)
}

func total(all map[string]row, runtime string) (sum totals) {
	for program, got := range all {
		if program == chance {
			continue
		}
		v := got[runtime].verdict
		sum.ok += v.ok
		sum.notOK += v.notOK
		if v.passes() {
			sum.passing++
		}
	}
	return sum
}

// table returns the results as a markdown table: a row for each program, a column for each runtime.
func table(programs, runtimes []string, all map[string]row) string {
	var b strings.Builder
	line := func(first string, cell func(runtime string) string) {
		fmt.Fprintf(&b, "| %s |", first)
		for _, name := range runtimes {
			fmt.Fprintf(&b, " %s |", cell(name))
		}
		b.WriteByte('\n')
	}
	line("", func(name string) string { return name })
	line("---", func(string) string { return "---" })
	line("programs that pass, but for pidfile", func(name string) string { return fmt.Sprintf("%d of %d", total(all, name).passing, len(programs)-1) })
	line("their tests that are ok", func(name string) string { return fmt.Sprint(total(all, name).ok) })
	line("their tests that are not ok", func(name string) string { return fmt.Sprint(total(all, name).notOK) })
	for _, program := range programs {
		line(program, func(name string) string {
			if v := all[program][name].verdict; !v.passes() {
				return "**" + v.String() + "**"
			}
			return all[program][name].verdict.String()
		})
	}
	return b.String()
}

const (
	tableBegins = "<!-- table -->\n"
	tableEnds   = "<!-- end of table -->"
)

// writeTable replaces the text between the two marks of the document.
func writeTable(document, table string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ends {
		return fmt.Errorf("write table: no marks in %s", document)
	}
	next := string(before) + tableBegins + table + tableEnds + string(after)
	if err := os.WriteFile(document+".new", []byte(next), 0o644); err != nil {
		return err
	}
	return os.Rename(document+".new", document)
}
