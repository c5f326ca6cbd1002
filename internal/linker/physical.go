package linker

import (
	"path"
	"strings"
)

// physical returns a path without "..": each ".." goes to the parent of the directory
// that the path before it resolves to, as in the kernel. ok is false if there is no
// such directory.
func (v *View) physical(p string) (at string, ok bool) {
	if !strings.Contains(p, "..") {
		return path.Clean("/" + p), true
	}
	at = "/"
	for _, name := range strings.Split(p, "/") {
		if name != ".." {
			at = path.Join(at, name) // Join ignores "" and "."
			continue
		}
		in, err := v.Resolve(at)
		if err != nil {
			v.Lacks(at)
			return "", false
		}
		if in.Tree == nil { // made for the container
			at = path.Dir(in.At)
			continue
		}
		id, err := in.Tree.Identity(in.Path)
		if err != nil || !in.Tree.IsDir(in.Path) {
			v.Lacks(at)
			return "", false
		}
		if asked := v.within(at); asked.Tree != nil {
			v.seen.AddThrough(asked.Tree, asked.Path, id)
		}
		at = path.Dir(in.At)
	}
	return at, true
}
