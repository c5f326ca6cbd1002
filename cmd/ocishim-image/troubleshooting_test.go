package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/text"
)

var updateTroubleshooting = flag.Bool("update", false, "write the table of hints into docs/troubleshooting.md")

// Every hint of the program is in docs/troubleshooting.md.
func TestTroubleshooting(t *testing.T) {
	if os.Getenv("OCISHIM_TEST_FIXTURE") != "" {
		t.Skip("the second run, as an ordinary user, is elsewhere: the first one has done this")
	}
	const file, begin, end = "../../docs/troubleshooting.md", "<!-- ocishim-image -->\n", "<!-- end of ocishim-image -->"
	var table strings.Builder
	table.WriteString("| the error says | what to do |\n|---|---|\n")
	for _, a := range hints() {
		fmt.Fprintf(&table, "| %s | %s |\n", cell(a.is.Error()), cell(a.hint))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	old, after, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Fatalf("%s has no place for the hints", file)
	case old == table.String():
	case *updateTroubleshooting:
		if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s lacks hints: go test ./cmd/ocishim-image -run TestTroubleshooting -update", file)
	}
}

func cell(s string) string { return strings.ReplaceAll(text.Whole(s), "|", "\\|") }
