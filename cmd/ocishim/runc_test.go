package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// optionsOfRunc reads runc's options from its source, by verb; the global ones are under "". The
// module that libcontainer comes from contains all of runc, of the same version.
func optionsOfRunc(t *testing.T) map[string][]string {
	t.Helper()
	if os.Getenv("OCISHIM_TEST_FIXTURE") != "" {
		t.Skip("the second run, as an ordinary user, is elsewhere: the first one has done this")
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runc").Output()
	if err != nil {
		t.Fatal("find runc's source: ", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of runc in %s: %v", dir, err)
	}
	all := map[string][]string{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit: // cli.Command{Name: "exec", Flags: []cli.Flag{...}}
				if selected(n.Type) == "Command" {
					verb := literalOf(field(n, "Name"))
					all[verb] = append(all[verb], flagNames(field(n, "Flags"))...)
				}
			case *ast.AssignStmt: // app.Flags = []cli.Flag{...}
				if selected(n.Lhs[0]) == "Flags" {
					all[""] = append(all[""], flagNames(n.Rhs[0])...)
				}
			}
			return true
		})
	}
	return all
}

// selected returns NAME of an expression x.NAME.
func selected(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return s.Sel.Name
	}
	return ""
}

// field returns the value of a field in the literal, nil if it has none.
func field(l *ast.CompositeLit, name string) ast.Expr {
	for _, e := range l.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == name {
				return pair.Value
			}
		}
	}
	return nil
}

// literalOf returns the string in a literal.
func literalOf(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, _ := strconv.Unquote(literal.Value)
	return s
}

// flagNames lists the names in a list of flags, each of which has one or more names separated by
// commas.
func flagNames(list ast.Expr) []string {
	l, ok := list.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var names []string
	for _, e := range l.Elts {
		if flag, ok := e.(*ast.CompositeLit); ok {
			for name := range strings.SplitSeq(literalOf(field(flag, "Name")), ",") {
				names = append(names, strings.TrimSpace(name))
			}
		}
	}
	return names
}
