package mpi

import (
	"os"
	"testing"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/scene"
)

// Reading a script, a Python module or an environment module ends without a crash,
// whatever it contains.
func FuzzCommand(f *testing.F) {
	for _, text := range []string{
		"X=${Y:-a}; export P=$X:$P; . ./a \"$(dirname \"$0\")\" `b`\ncat <<E\nE\nexec $@ ${1#x} $(", "$(", "${", "'", "\\", "<<", "$((1))", "cd", "cd $(cd;pwd)",
		"from . import a, b\nfrom .. import c\nimport d.e as f;import", "local a = b\nprepend_path(\"X\", pathJoin(a, \"b\"))\nset x [y]\nprepend-path A $x/$",
		"conda activate\nconda run -n\nmodule load -\nml", "env -S a=b sh -c 'sh -lc \"a b\"' >&2 <<<x",
	} {
		f.Add(text)
	}
	root := f.TempDir()
	if err := os.WriteFile(root+"/a", nil, 0o600); err != nil {
		f.Fatal(err)
	}
	tree, err := host.Open(root, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(tree.Close)
	f.Fuzz(func(_ *testing.T, text string) {
		p := &plan{Request: Request{Scene: scene.Scene{Host: tree, Image: tree, Arch: "amd64", Cwd: "/"}}, env: environment{}, seen: newWitnesses()}
		defer p.close()
		p.look()
		c := p.newCommand()
		c.shellText(text, []string{"sh", "x y"}, 0)
		c.moduleText(text)
		python := &interpreter{Object: new(linker.Object)}
		m := &imports{command: c, known: map[string]bool{}, dirs: []string{"/", "relative"}}
		m.text(text, "a.b")
		m.follow()
		c.pythonArguments(python, []string{text, text}, m)
		c.loaderArguments([]string{text, "--preload"})
		c.activateFor([]string{text, "-n"})
		plainName(text)
	})
}
