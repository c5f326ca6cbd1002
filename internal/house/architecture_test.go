package house_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestArchitecture compares the code with the table of docs/architecture.md: the packages of ours
// that a package imports are exactly those in its row, and every package has a row.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readArchitecture(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range againstArchitecture(rows, ownImports(importsOf(t, moduleRoot))) {
		t.Errorf("docs/architecture.md: %s", wrong)
	}
}

// everything in the last column stands for any package of ours.
const everything = "all"

// readArchitecture reads the table of packages. It returns, by the name in the first column, in
// backquotes, the names in the last one.
func readArchitecture(text string) (map[string][]string, error) {
	_, text, found := strings.Cut(text, "| package | owns | imports of ours |\n")
	if !found {
		return nil, fmt.Errorf("no table with the head | package | owns | imports of ours |")
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		name := quoted.FindStringSubmatch(columns[0])
		if name == nil {
			continue // the rule below the table's header
		}
		if _, twice := rows[name[1]]; twice {
			return nil, fmt.Errorf("%s has two rows", name[1])
		}
		imports := []string{}
		switch last := strings.TrimSpace(columns[len(columns)-1]); last {
		case "none":
		case everything:
			imports = append(imports, everything)
		default:
			for _, match := range quoted.FindAllStringSubmatch(last, -1) {
				imports = append(imports, match[1])
			}
			if len(imports) == 0 {
				return nil, fmt.Errorf("%s: the last column is %q: it has names in backquotes, or none, or all", name[1], last)
			}
		}
		rows[name[1]] = imports
	}
	return rows, nil
}

// ownImports keeps the imports of our packages by our packages. Programs of tests and benchmarks do
// not count.
func ownImports(imports map[string][]string) map[string][]string {
	own := map[string][]string{}
	for pkg, all := range imports {
		if strings.HasPrefix(pkg, "test/") || pkg == "internal/house" || pkg == "." {
			continue
		}
		own[pkg] = []string{}
		for _, path := range all {
			if ours, ok := strings.CutPrefix(path, "./"); ok {
				own[pkg] = append(own[pkg], ours)
			}
		}
	}
	return own
}

// againstArchitecture lists the differences between the table and the code.
func againstArchitecture(rows, imports map[string][]string) []string {
	var wrong []string
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		allowed, found := rows[pkg]
		if !found {
			wrong = append(wrong, pkg+" has no row")
			continue
		}
		if slices.Contains(allowed, everything) {
			continue
		}
		for _, imported := range imports[pkg] {
			if !slices.Contains(allowed, imported) {
				wrong = append(wrong, pkg+" imports "+imported+", which its row does not have")
			}
		}
		for _, name := range allowed {
			if !slices.Contains(imports[pkg], name) {
				wrong = append(wrong, pkg+" does not import "+name+", which its row has")
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(rows)) {
		if _, found := imports[pkg]; !found {
			wrong = append(wrong, pkg+" has a row and is no package")
		}
	}
	return wrong
}

// The test of the test: it finds each kind of difference.
func TestArchitectureBites(t *testing.T) {
	const table = "# House\n\n| package | owns | imports of ours |\n|---|---|---|\n" +
		"| `cmd/x` | everything, `bundle` too | all |\n| `bundle` | data | none |\n| `runtime` | life | `bundle`, `internal/gone` |\n| `old` | nothing | none |\n\n| `not` | in the table | none |\n"
	rows, err := readArchitecture(table)
	if err != nil {
		t.Fatal(err)
	}
	got := againstArchitecture(rows, ownImports(map[string][]string{
		"cmd/x": {"./bundle", "./runtime", "fmt"}, "bundle": {"./gpu", "os"}, "runtime": {"./bundle"}, "gpu": {}, "test/bench": {"./gpu"},
	}))
	want := []string{
		"bundle imports gpu, which its row does not have",
		"gpu has no row",
		"runtime does not import internal/gone, which its row has",
		"old has a row and is no package",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, text := range map[string]string{
		"no table":   "# House\n",
		"two rows":   "| package | owns | imports of ours |\n| `a` | b | none |\n| `a` | c | none |\n",
		"no imports": "| package | owns | imports of ours |\n| `a` | b | bundle |\n",
	} {
		if rows, err := readArchitecture(text); err == nil {
			t.Errorf("%s: %v", name, rows)
		}
	}
}
