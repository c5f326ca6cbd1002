package explain

import (
	"fmt"
	"io"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// Write prints the changes of each edit below the edit's name and rule.
func Write(w io.Writer, changes []Change) error {
	var b strings.Builder
	from, rule := "", ""
	for i, c := range changes {
		if i == 0 || c.From != from || c.Rule != rule {
			from, rule = c.From, c.Rule
			b.WriteString(text.Whole(from))
			if rule != "" {
				b.WriteString(": " + text.Whole(rule))
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %-10s %s\n", c.Kind, c.line())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line returns all of a change except its kind.
func (c Change) line() string {
	between := map[string]string{Env: "=", EnvPrepend: "=", Mount: " <- ", Link: " -> "}[c.Kind]
	if between == "" {
		between = " "
	}
	line := text.Whole(c.Name)
	if c.Value != "" || c.Kind == Env {
		line += between + text.Whole(c.Value)
	}
	switch {
	case c.LostTo != "":
		line += "  [overridden by " + text.Whole(c.LostTo) + "]"
	case c.Over != "" && c.Was != "":
		line += "  [over " + text.Whole(c.Over) + ": " + text.Whole(c.Was) + "]"
	case c.Over != "":
		line += "  [over " + text.Whole(c.Over) + "]"
	}
	return line
}

// String returns a line for people.
func (f Finding) String() string {
	line := text.Whole(f.Library) + ": "
	if f.Found != "" {
		line += text.Whole(f.Found) + " by " + f.By
	}
	if f.Why != "" {
		line += "  [" + f.Why + "; it was injected at " + text.Whole(f.Given) + "]"
	}
	return line
}
