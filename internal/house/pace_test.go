package house_test

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A fixed time that is too short makes a test fail on a slow machine without a fault: tests wait
// for conditions, by internal/pace.
func TestTestsDoNotWaitForTime(t *testing.T) {
	for _, f := range parseAll(t, moduleRoot) {
		if !f.test || f.dir == filepath.Join("internal", "pace") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isFromNowOn(call) {
				t.Errorf("%s: a deadline that does not follow the machine: pace.Deadline", f.at(n))
			}
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch {
			case isSelector(s, "time", "Sleep", "Tick", "NewTicker"):
				t.Errorf("%s: time.%s: wait for a condition, by pace.Until", f.at(s), s.Sel.Name)
			case isSelector(s, "time", "After", "AfterFunc", "NewTimer"), isSelector(s, "context", "WithTimeout", "WithDeadline"):
				t.Errorf("%s: %s: a limit that does not follow the machine; internal/pace has those that do", f.at(s), s.Sel.Name)
			}
			return true
		})
	}
}

// isFromNowOn reports whether the call is time.Now().Add of a time in the future.
func isFromNowOn(call *ast.CallExpr) bool {
	add, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || add.Sel.Name != "Add" || len(call.Args) != 1 {
		return false
	}
	now, ok := add.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	of, ok := now.Fun.(*ast.SelectorExpr)
	if !ok || !isSelector(of, "time", "Now") {
		return false
	}
	first := call.Args[0]
	for {
		binary, ok := first.(*ast.BinaryExpr)
		if !ok {
			break
		}
		first = binary.X
	}
	_, past := first.(*ast.UnaryExpr)
	return !past
}

// scriptWaits match a line of a script that only sleeps, and a literal limit.
var scriptWaits = []string{`(?m)^\s*(exec )?sleep [0-9.]+\s*$`, `\btimeout [0-9.]+ `}

// The same for scripts of testscript.
func TestScriptsDoNotWaitForTime(t *testing.T) {
	err := filepath.WalkDir(moduleRoot, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == "build" {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".txtar") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, wait := range fixedWaits(string(text)) {
			t.Errorf("%s: %q: wait for a condition, with $LIMIT or $QUIET", path, wait)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func fixedWaits(script string) []string {
	var found []string
	for _, pattern := range scriptWaits {
		for _, wait := range regexp.MustCompile(pattern).FindAllString(script, -1) {
			found = append(found, strings.TrimSpace(wait))
		}
	}
	return found
}

func TestFixedWaitsAreFound(t *testing.T) {
	script := "exec sleep 0.3\nexec sh -c 'until x; do sleep 0.05; done'\nbundle b sleep 600\ntimeout 10 cat\ntimeout $LIMIT cat\nsleep 1\nsleep $QUIET\n"
	if got := strings.Join(fixedWaits(script), ","); got != "exec sleep 0.3,sleep 1,timeout 10" {
		t.Error(got)
	}
}
