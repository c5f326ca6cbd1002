package mpi

import (
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// witnesses are the files, directories and links on which a decision rests. While each
// is what it was, so is the decision: what is searched in a directory cannot appear
// there without changing it.
type witnesses struct {
	list  []witness
	known map[[2]string]bool
}

// A witness is a path in a tree, and what was there: an identity, or what a link holds.
// Identities of paths that lead through links have a mark.
type witness struct {
	root, path string
	was        string
}

func newWitnesses() *witnesses { return &witnesses{known: map[[2]string]bool{}} }

// add notes what lies at a path without links.
func (w *witnesses) add(tree *host.Tree, path string) {
	if key := [2]string{tree.HostPath("/"), path}; !w.known[key] {
		w.known[key] = true
		w.list = append(w.list, witness{key[0], path, identify(tree.PlainIdentity(path))})
	}
}

// addFile is add of a file that was read: its identity is known.
func (w *witnesses) addFile(tree *host.Tree, file host.Found) {
	if key := [2]string{tree.HostPath("/"), file.Path}; !w.known[key] {
		w.known[key] = true
		w.list = append(w.list, witness{key[0], file.Path, identify(file.Identity, nil)})
	}
}

// addAsked notes what a path leads to.
func (w *witnesses) addAsked(tree *host.Tree, path string) {
	if key := [2]string{tree.HostPath("/"), path}; !w.known[key] {
		w.known[key] = true
		w.list = append(w.list, witness{key[0], path, throughMark + identify(tree.Identity(path))})
	}
}

const linkMark, throughMark = "->", "*"

func (w *witnesses) addLink(tree *host.Tree, path, target string) {
	if key := [2]string{tree.HostPath("/"), path}; !w.known[key] {
		w.known[key] = true
		w.list = append(w.list, witness{key[0], path, linkMark + target})
	}
}

// holds tells whether the tree is at that path what it was.
func (w witness) holds(tree *host.Tree) bool {
	if target, ok := strings.CutPrefix(w.was, linkMark); ok {
		now, err := tree.Readlink(w.path)
		return err == nil && now == target
	}
	if was, ok := strings.CutPrefix(w.was, throughMark); ok {
		return identify(tree.Identity(w.path)) == was
	}
	return identify(tree.PlainIdentity(w.path)) == w.was
}

// identify writes an identity as text; empty for none.
func identify(id host.Identity, err error) string {
	if err != nil {
		return ""
	}
	text := make([]byte, 0, 64)
	text = strconv.AppendUint(text, id.Dev, 36)
	text = strconv.AppendUint(append(text, '.'), id.Ino, 36)
	text = strconv.AppendInt(append(text, '.'), id.Size, 36)
	text = strconv.AppendInt(append(text, '.'), id.Changed, 36)
	return string(text)
}
