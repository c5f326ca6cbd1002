package house_test

import (
	"go/ast"
	"strings"
	"testing"
)

// A caller of a library function must be able to see that the call may be the process's last.
func TestOnlyBecomingExits(t *testing.T) {
	for _, f := range parseAll(t, moduleRoot) {
		if f.test || f.syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || strings.Contains(strings.ToLower(fn.Name.Name), "becom") {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && (isSelector(s, "os", "Exit") || isSelector(s, "syscall", "Exit") || isSelector(s, "unix", "Exit")) {
					t.Errorf("%s: %s exits the process: return a status, or call it Become...", f.at(s), fn.Name.Name)
				}
				return true
			})
		}
	}
}
