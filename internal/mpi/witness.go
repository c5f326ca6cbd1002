package mpi

import (
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// witnesses are the files, directories and links on which a decision depends. As long
// as each is unchanged, the decision holds: a file cannot appear in a searched
// directory without changing the directory.
type witnesses struct {
	list  []witness
	known map[witnessed]bool

	variables []string // of the task's environment, each followed by its value
	named     map[string]bool
}

type witnessed struct {
	tree *host.Tree
	path string
}

// A witness is a path in a tree, and what was there: an identity, or the target of a
// link. Identities of paths that lead through links are marked.
type witness struct {
	root, path string
	was        string
}

const linkMark, throughMark = "->", "*"

func newWitnesses() *witnesses { return new(witnesses) }

// variable records the value of a variable, once.
func (w *witnesses) variable(name, value string) {
	if w.named == nil {
		w.named = map[string]bool{}
	}
	if !w.named[name] {
		w.named[name] = true
		w.variables = append(w.variables, name, value)
	}
}

// isNew reports whether the path has not been recorded yet, and marks it as recorded.
func (w *witnesses) isNew(tree *host.Tree, path string) bool {
	const usual = 256 // for a program with an MPI
	if w.known == nil {
		w.known = make(map[witnessed]bool, usual)
	}
	key := witnessed{tree, path}
	if w.known[key] {
		return false
	}
	w.known[key] = true
	return true
}

func (w *witnesses) note(tree *host.Tree, path, was string) {
	w.list = append(w.list, witness{tree.HostPath("/"), path, was})
}

// Look records what is at a path, without following links.
func (w *witnesses) Look(tree *host.Tree, path string) {
	if w.isNew(tree, path) {
		w.note(tree, path, identify(tree.PlainIdentity(path)))
	}
}

// Add is Look for a known identity.
func (w *witnesses) Add(tree *host.Tree, path string, id host.Identity) {
	if w.isNew(tree, path) {
		w.note(tree, path, identify(id, nil))
	}
}

// AddNone records that a path leads to nothing useful.
func (w *witnesses) AddNone(tree *host.Tree, path string) {
	if w.isNew(tree, path) {
		w.note(tree, path, throughMark+identify(tree.Identity(path)))
	}
}

// AddThrough records what a path leads to through links.
func (w *witnesses) AddThrough(tree *host.Tree, path string, id host.Identity) {
	if w.isNew(tree, path) {
		w.note(tree, path, throughMark+identify(id, nil))
	}
}

func (w *witnesses) AddLink(tree *host.Tree, path, target string) {
	if w.isNew(tree, path) {
		w.note(tree, path, linkMark+target)
	}
}

// holds reports whether the tree is unchanged at that path.
func (w witness) holds(tree *host.Tree, look *lookout) bool {
	if target, ok := strings.CutPrefix(w.was, linkMark); ok {
		now, err := tree.Readlink(w.path)
		return err == nil && now == target
	}
	if was, ok := strings.CutPrefix(w.was, throughMark); ok {
		return identify(tree.Identity(w.path)) == was
	}
	return identify(look.identity(tree, w.path)) == w.was
}

// A lookout looks up many paths without following links. If several consecutive ones
// are in one directory, it opens the directory: resolving the path takes longer than
// the look-up.
type lookout struct {
	tree  *host.Tree
	path  string // of the directory
	asked int    // how many paths in it
	open  *host.Directory
}

const severalPaths = 8

func (l *lookout) identity(tree *host.Tree, p string) (host.Identity, error) {
	dir, name := linker.Split(p)
	if l.tree != tree || l.path != dir {
		l.close()
		*l = lookout{tree: tree, path: dir}
	}
	if l.asked++; l.asked == severalPaths {
		if d, err := tree.OpenPlainDirectory(dir); err == nil {
			l.open = d
		}
	}
	if l.open == nil || name == "" {
		return tree.PlainIdentity(p)
	}
	return l.open.PlainIdentity(name)
}

func (l *lookout) close() {
	if l.open != nil {
		l.open.Close()
	}
}

// identify writes an identity as text; empty for none.
func identify(id host.Identity, err error) string {
	if err != nil {
		return ""
	}
	text := make([]byte, 0, 64)
	const base = 32
	text = strconv.AppendUint(text, id.Dev, base)
	text = strconv.AppendUint(append(text, '.'), id.Ino, base)
	text = strconv.AppendInt(append(text, '.'), id.Size, base)
	text = strconv.AppendInt(append(text, '.'), id.Changed, base)
	return string(text)
}
