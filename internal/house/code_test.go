package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// moduleRoot is the directory of go.mod, relative to this package.
var moduleRoot = filepath.Join("..", "..")

// A file is one of our Go files.
type file struct {
	dir    string // of its package, relative to the root
	name   string // relative to the root
	test   bool
	lines  int
	set    *token.FileSet
	syntax *ast.File
}

// at returns the file and line of a syntax element.
func (f file) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.name, f.set.Position(n.Pos()).Line)
}

// parseAll reads every Go file below root, whatever its build constraints.
func parseAll(t *testing.T, root string) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if e.IsDir() && rel != "." && (rel == "build" || e.Name() == "testdata" || strings.HasPrefix(e.Name(), ".")) {
			return fs.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, file{
			dir: filepath.Dir(rel), name: rel, test: strings.HasSuffix(rel, "_test.go"),
			lines: set.File(syntax.Pos()).LineCount(), set: set, syntax: syntax,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A reader can take in a whole file.
func TestFilesAreShort(t *testing.T) {
	const most = 400
	for _, f := range parseAll(t, moduleRoot) {
		if f.lines > most {
			t.Errorf("%s has %d lines, at most %d: divide it by subject", f.name, f.lines, most)
		}
	}
}

// Code that runs before main costs every call, and can neither be tested nor left out.
func TestNothingRunsBeforeMain(t *testing.T) {
	// The exception: a container's first process is also this program.
	allowed := filepath.Join("cmd", "ocishim", "main.go")
	for _, f := range parseAll(t, moduleRoot) {
		if f.test {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil && f.name != allowed {
					t.Errorf("%s: func init: call it from where it is needed", f.at(d))
				}
			case *ast.GenDecl:
				for _, call := range regexpsIn(d) {
					t.Errorf("%s: a regexp compiled before main: compile it where it is used, or match by hand", f.at(call))
				}
			}
		}
	}
}

// regexpsIn finds the calls that compile a regexp when the declaration is initialised, but not
// those in a function that it only defines.
func regexpsIn(decl *ast.GenDecl) []ast.Node {
	var calls []ast.Node
	ast.Inspect(decl, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if s, ok := n.(*ast.SelectorExpr); ok && isSelector(s, "regexp", "MustCompile", "Compile", "MustCompilePOSIX", "CompilePOSIX") {
			calls = append(calls, s)
		}
		return true
	})
	return calls
}

func isSelector(s *ast.SelectorExpr, pkg string, names ...string) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && slices.Contains(names, s.Sel.Name)
}

// Only the command line reads the environment. Other packages get what they need of it as an
// argument, so that root can work on a user's job.
func TestEnvironmentIsAnArgument(t *testing.T) {
	packages := []string{
		"bundle", "internal/slurm", "internal/plan", "internal/request", "internal/slurminside", "internal/explain", "internal/config", "internal/host", "internal/linker", "internal/mpi", "gpu",
		"internal/image", "internal/image/credentials", "internal/image/registry", "internal/image/source", "internal/image/layers", "internal/image/rootfs", "internal/image/storage",
		"internal/image/archive", "internal/image/export", "internal/image/serve", "internal/image/squashfs",
	}
	for _, f := range parseAll(t, moduleRoot) {
		if f.test || !slices.Contains(packages, f.dir) {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if ok && (isSelector(s, "os", "Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv") || isSelector(s, "syscall", "Getenv", "Environ")) {
				t.Errorf("%s: %s is for cmd/ocishim only", f.at(s), s.Sel.Name)
			}
			return true
		})
	}
}

// A package's name says what it is for.
func TestNamesSayWhat(t *testing.T) {
	for _, f := range parseAll(t, moduleRoot) {
		for _, part := range strings.Split(strings.TrimSuffix(f.name, ".go"), string(filepath.Separator)) {
			for _, word := range strings.Split(part, "_") {
				if slices.Contains([]string{"util", "utils", "helper", "helpers", "common", "misc", "shared", "base"}, word) {
					t.Errorf("%s: %q says nothing", f.name, word)
				}
			}
		}
	}
}
