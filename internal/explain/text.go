package explain

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Write prints the changes, those of an edit below its name and rule.
func Write(w io.Writer, changes []Change) error {
	var b strings.Builder
	from, rule := "", ""
	for i, c := range changes {
		if i == 0 || c.From != from || c.Rule != rule {
			from, rule = c.From, c.Rule
			b.WriteString(printable(from))
			if rule != "" {
				b.WriteString(": " + printable(rule))
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %-10s %s\n", c.Kind, c.line())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line is all of a change but its kind.
func (c Change) line() string {
	between := map[string]string{Env: "=", EnvPrepend: "=", Mount: " <- ", Link: " -> "}[c.Kind]
	if between == "" {
		between = " "
	}
	text := printable(c.Name)
	if c.Value != "" || c.Kind == Env {
		text += between + printable(c.Value)
	}
	switch {
	case c.LostTo != "":
		text += "  [" + printable(c.LostTo) + " has it]"
	case c.Over != "" && c.Was != "":
		text += "  [over " + printable(c.Over) + ": " + printable(c.Was) + "]"
	case c.Over != "":
		text += "  [over " + printable(c.Over) + "]"
	}
	return text
}

// String is a line for people.
func (f Finding) String() string {
	text := printable(f.Library) + ": "
	if f.Found != "" {
		text += printable(f.Found) + " by " + f.By
	}
	if f.Why != "" {
		text += "  [" + f.Why + "; it is given at " + printable(f.Given) + "]"
	}
	return text
}

// printable makes text of a container fit for one line of a terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}
