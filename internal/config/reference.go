package config

import (
	"fmt"
	"strings"
)

// Reference describes every key, as text for a terminal.
func Reference() string {
	var b strings.Builder
	for _, s := range Default().settings() {
		fmt.Fprintf(&b, "%s: %s\n", s.key, s.terms())
		s.describe(&b, "   ")
		for _, s := range s.inner() {
			fmt.Fprintf(&b, "   %s: %s\n", s.key, s.terms())
			s.describe(&b, "      ")
		}
	}
	return b.String()
}

// inner returns the settings of a table in a list or in a table of tables.
func (s setting) inner() []setting {
	switch s.value.(type) {
	case *[]Mount:
		return new(Mount).settings()
	case *[]MPI:
		profile := newMPI("")
		return profile.settings()
	}
	return nil
}

func (s setting) describe(b *strings.Builder, indent string) {
	for line := range strings.Lines(s.doc + "\n") {
		b.WriteString(indent + strings.ReplaceAll(line, "`", ""))
	}
}

// terms describes the type of the value, and the default.
func (s setting) terms() string {
	if text, ok := s.value.(*string); ok && *text == "" {
		return s.kind() // the description says what an empty value means
	}
	if _, ok := s.value.(*[]MPI); ok {
		return s.kind() + "; default none"
	}
	return s.kind() + "; default " + literal(s.value)
}

// kind describes the type of the value.
func (s setting) kind() string {
	switch s.value.(type) {
	case *bool:
		return "true or false"
	case *[]string:
		if len(s.choices) == 0 {
			return "a list of strings"
		}
		return "a list of " + alternatives(s.choices)
	case *[]Mount:
		return "a list of tables"
	case *[]MPI:
		return "tables by name"
	}
	if len(s.choices) > 0 {
		return alternatives(s.choices)
	}
	return "a string"
}
