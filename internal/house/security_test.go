package house_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Every test that docs/security.md names exists, in some package.
func TestSecurityNamesTests(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(moduleRoot, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := testNames(t)
	found := 0
	for _, name := range regexp.MustCompile(`\b(Test[A-Z]\w+|\w+\.txtar)\b`).FindAllString(string(data), -1) {
		found++
		if !there(name) {
			t.Errorf("docs/security.md names %s, which does not exist", name)
		}
	}
	if found < 20 {
		t.Errorf("docs/security.md names %d tests", found)
	}
}

// testNames returns a function that reports whether there is a test of the name: a function, or a
// script of the command line.
func testNames(t *testing.T) func(string) bool {
	t.Helper()
	functions := map[string]bool{}
	for _, f := range parseAll(t, moduleRoot) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				functions[fn.Name.Name] = true
			}
		}
	}
	return func(name string) bool {
		_, err := os.Stat(filepath.Join(moduleRoot, "cmd", "ocishim", "testdata", "script", name))
		return functions[name] || err == nil
	}
}
