package mpi

import (
	"path"
	"strings"
)

// physical is a path without "..": each leads to what is above the directory that the path
// before it leads to, by links, as for the kernel. Not ok: there is no such directory.
func (v *view) physical(p string) (at string, ok bool) {
	if !strings.Contains(p, "..") {
		return path.Clean("/" + p), true
	}
	at = "/"
	for _, name := range strings.Split(p, "/") {
		if name != ".." {
			at = path.Join(at, name) // "" and "." stay
			continue
		}
		in, err := v.resolve(at)
		asked := v.within(at)
		if err != nil {
			v.seen.addNone(asked.tree, asked.path)
			return "", false
		}
		id, err := in.tree.Identity(in.path)
		if err != nil || !in.tree.IsDir(in.path) {
			v.seen.addNone(asked.tree, asked.path)
			return "", false
		}
		v.seen.addThrough(asked.tree, asked.path, id)
		at = path.Dir(in.at)
	}
	return at, true
}
