package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image/export"
)

// The manual page lists every verb, option and format, and every verb has --help.
func TestManual(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "docs", "ocishim-image.8"))
	if err != nil {
		t.Fatal(err)
	}
	manual := strings.ReplaceAll(string(source), `\-`, "-") // man(7) escapes hyphens
	s := newScene(t)
	check := func(verb string, flags []cli.Flag) {
		for _, f := range flags {
			for _, name := range f.Names() {
				option := "--" + name
				if len(name) == 1 {
					option = "-" + name
				}
				if !strings.Contains(manual, option) {
					t.Errorf("option %s of %q is not in the manual", option, verb)
				}
			}
		}
	}
	app := newApp(s.user)
	check("", app.Flags)
	for _, verb := range app.Commands {
		if verb.Hidden {
			continue
		}
		if !strings.Contains(manual, `\fB`+verb.Name+`\fR`) {
			t.Errorf("verb %s is not in the manual", verb.Name)
		}
		check(verb.Name, verb.Flags)
		if out := s.ok(t, verb.Name, "--help"); !strings.Contains(out, verb.Usage) {
			t.Errorf("%s --help: %s", verb.Name, out)
		}
	}
	for _, format := range export.Formats() {
		if !strings.Contains(manual, string(format)) {
			t.Errorf("format %s is not in the manual", format)
		}
	}
}
