package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// The differences between callers are policies with names (runtime/policy.go). A branch on the
// caller would mix all of them again, and hide which one it means.
func TestRuntimeDoesNotAskWhoCalls(t *testing.T) {
	for _, f := range parseAll(t, moduleRoot) {
		if f.test || f.dir != "runtime" && !strings.HasPrefix(f.dir, "runtime/") {
			continue
		}
		for _, n := range callerQuestions(f.syntax) {
			t.Errorf("%s: it asks whether Slurm calls: turn what depends on that into a value of runtime.Policies", f.at(n))
		}
	}
}

// callerQuestions finds identifiers that are named after Slurm or its steps and are true or false,
// by type or because they are used as a condition.
func callerQuestions(syntax *ast.File) []ast.Node {
	var found []ast.Node
	ast.Inspect(syntax, func(n ast.Node) bool {
		for _, name := range append(declaredBools(n), asked(n)...) {
			if lower := strings.ToLower(name.Name); strings.Contains(lower, "slurm") || strings.Contains(lower, "step") {
				found = append(found, name)
			}
		}
		return true
	})
	return found
}

// declaredBools returns the fields, variables and functions of type bool that the syntax element
// declares.
func declaredBools(n ast.Node) []*ast.Ident {
	switch n := n.(type) {
	case *ast.Field:
		if isBool(n.Type) {
			return n.Names
		}
	case *ast.ValueSpec:
		if isBool(n.Type) {
			return n.Names
		}
	case *ast.FuncDecl:
		if r := n.Type.Results; r != nil && len(r.List) == 1 && isBool(r.List[0].Type) {
			return []*ast.Ident{n.Name}
		}
	}
	return nil
}

// asked returns the identifiers that the syntax element uses as a condition.
func asked(n ast.Node) []*ast.Ident {
	var conditions []ast.Expr
	switch n := n.(type) {
	case *ast.IfStmt:
		conditions = []ast.Expr{n.Cond}
	case *ast.ForStmt:
		conditions = []ast.Expr{n.Cond}
	case *ast.SwitchStmt:
		if n.Tag == nil {
			for _, clause := range n.Body.List {
				conditions = append(conditions, clause.(*ast.CaseClause).List...)
			}
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			conditions = []ast.Expr{n.X}
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			conditions = []ast.Expr{n.X, n.Y}
		}
	}
	var names []*ast.Ident
	for _, e := range conditions {
		if name := lastName(e); name != nil {
			names = append(names, name)
		}
	}
	return names
}

func isBool(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && name.Name == "bool"
}

// lastName returns the name of the variable, field or function in a condition.
func lastName(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.SelectorExpr:
		return e.Sel
	case *ast.CallExpr:
		return lastName(e.Fun)
	case *ast.ParenExpr:
		return lastName(e.X)
	}
	return nil
}

func TestCallerQuestionsAreFound(t *testing.T) {
	const source = `package p
		type options struct { Step, other bool }
		func isStep() bool { return true }
		func step(name string) error { return nil }
		func f(o options, bySlurm bool, lifetime string) {
			if inStep := isStep(); inStep || o.other { return }
			switch { case o.Step: case lifetime == "step": }
			switch lifetime { case tombstoneOfStep: }
			if !o.Step && step("x") != nil { return }
		}`
	syntax, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range callerQuestions(syntax) {
		names = append(names, n.(*ast.Ident).Name)
	}
	slices.Sort(names)
	want := []string{"Step", "Step", "Step", "bySlurm", "inStep", "isStep"}
	if !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}
