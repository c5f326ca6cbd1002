package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docs/config.md describes every key as settings does, and has a valid example.
func TestDocs(t *testing.T) {
	const begin, end = "<!-- keys: go test ./internal/config -update -->\n", "<!-- end of keys -->\n"
	path := filepath.Join("..", "..", "docs", "config.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), begin)
	keys, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no place for the keys", path)
	}
	if want := markdown(); keys != want && *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if keys != want {
		t.Errorf("%s does not match the settings; generate it with: go test ./internal/config -update", path)
	}
	_, example, _ := strings.Cut(before, "```toml\n")
	example, _, found = strings.Cut(example, "```\n")
	if !found {
		t.Fatalf("%s has no example", path)
	}
	if err := Default().merge(path, []byte(example)); err != nil {
		t.Error("in the example: ", err)
	}
}

// markdown describes every key.
func markdown() string {
	var b strings.Builder
	for _, s := range Default().settings() {
		fmt.Fprintf(&b, "### `%s`\n\n%s.\n\n%s\n\n", s.key, capital(s.terms()), s.doc)
		inner := s.inner()
		if len(inner) == 0 {
			continue
		}
		for _, s := range inner {
			fmt.Fprintf(&b, "- `%s`: %s.\n  %s\n", s.key, s.terms(), strings.ReplaceAll(s.doc, "\n", "\n  "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// capital makes the first letter upper case.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// Each line of the help fits a terminal, except a key's own line.
func TestReferenceFits(t *testing.T) {
	for line := range strings.Lines(Reference()) {
		if strings.HasPrefix(line, " ") && !strings.Contains(line, "; default ") && len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

// Each shipped profile is valid by itself.
func TestShippedProfiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "mpi.d", "*.toml"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if err := Check(file); err != nil {
			t.Error(err)
		}
	}
}
