package house_test

import (
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/parity.md names only tests that exist here.
func TestParityNamesTests(t *testing.T) {
	names := regexp.MustCompile(`\b(Test[A-Z]\w+|\w+\.txtar)\b`)
	there := testNames(t)
	found := 0
	for line := range strings.Lines(readDoc(t, "parity.md")) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) < 5 || !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, name := range names.FindAllString(cells[len(cells)-1], -1) {
			found++
			if !there(name) {
				t.Errorf("docs/parity.md names %s, which does not exist", name)
			}
		}
	}
	if found < 400 {
		t.Errorf("docs/parity.md names tests %d times", found)
	}
}

// Every test in the suite of runc, in the version of our libcontainer, is in docs/parity.md, in the
// table of its file, with a result of ours.
func TestParityIsComplete(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runc").Output()
	if err != nil {
		t.Fatal("find runc's source: ", err)
	}
	suites, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "tests", "integration", "*.bats"))
	if err != nil || len(suites) < 40 {
		t.Fatalf("%d suites of runc in %s: %v", len(suites), dir, err)
	}
	doc := html.UnescapeString(strings.ReplaceAll(readDoc(t, "parity.md"), `\|`, "|"))
	test := regexp.MustCompile(`(?m)^@test "(.*)" \{`)
	for _, suite := range suites {
		data, err := os.ReadFile(suite)
		if err != nil {
			t.Fatal(err)
		}
		_, table, found := strings.Cut(doc, "\n### "+filepath.Base(suite)+"\n")
		if !found {
			t.Errorf("docs/parity.md has no %s", filepath.Base(suite))
			continue
		}
		table, _, _ = strings.Cut(table, "\n#")
		for _, match := range test.FindAllSubmatch(data, -1) {
			if name := strings.TrimSpace(string(match[1])); !strings.Contains(table, "\n| "+name+" | ") {
				t.Errorf("docs/parity.md lacks %q of %s", name, filepath.Base(suite))
			}
		}
	}
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
