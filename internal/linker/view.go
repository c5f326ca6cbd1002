package linker

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// A View is what a process sees: a tree, and what of the node is bound into it. What
// it looks at it writes down, with the identity, so that a later call can tell whether
// all of it is as it was.
type View struct {
	Tree  *host.Tree
	binds []bind // the deepest first

	// Trusted says that only the site changes the tree.
	Trusted bool

	objects map[string]*Object    // by their path on the node
	dirs    map[string]*Directory // by the path that was asked for; nil for none
	entered map[Place]*Directory  // those, by what the paths lead to
	seen    Witness
}

// A bind is a file or directory of the node at a path of the view.
type bind struct {
	at   string
	tree *host.Tree
	file string // its path in the tree, where it is a file
}

// A Place is where something is: a path in a tree, without links.
type Place struct {
	Tree *host.Tree
	Path string // in the tree
	At   string // in the view
}

// NewView is a view of a tree without mounts. The witness may be nil.
func NewView(tree *host.Tree, seen Witness) *View {
	if seen == nil {
		seen = nobody{}
	}
	return &View{Tree: tree, objects: map[string]*Object{}, dirs: map[string]*Directory{}, entered: map[Place]*Directory{}, seen: seen}
}

// Bind adds the mounts of a container that show something of the node.
func (v *View) Bind(mounts []specs.Mount, node *host.Tree) {
	for _, m := range mounts {
		if !bundle.IsBind(m) || !path.IsAbs(m.Source) {
			continue
		}
		b := bind{at: path.Clean("/" + m.Destination)}
		if b.at == "/proc" || b.at == "/sys" || b.at == "/dev" {
			continue
		}
		source, err := node.Resolve(m.Source)
		if err != nil {
			continue
		}
		dir := source
		if !node.IsDir(source) {
			dir, b.file = path.Dir(source), "/"+path.Base(source)
		}
		if b.tree, err = node.Sub(dir); err == nil {
			v.binds = append(v.binds, b)
		}
	}
	slices.SortStableFunc(v.binds, func(a, b bind) int { return len(b.at) - len(a.at) })
}

// Close releases what the view holds open.
func (v *View) Close() {
	for _, d := range v.entered {
		if d.ahead != nil {
			d.ahead.stop()
		}
		if d.open != nil {
			d.open.Close()
		}
	}
	for _, b := range v.binds {
		b.tree.Close()
	}
}

// bindOf finds what is bound at or above the path.
func (v *View) bindOf(p string) *bind {
	for i, b := range v.binds {
		if p == b.at || strings.HasPrefix(p, b.at+"/") {
			return &v.binds[i]
		}
	}
	return nil
}

// within is the place of a path of which only the last part may be a link.
func (v *View) within(p string) Place {
	b := v.bindOf(p)
	switch {
	case b == nil:
		return Place{v.Tree, p, p}
	case b.file != "":
		return Place{b.tree, b.file, p}
	}
	return Place{b.tree, path.Clean("/" + p[len(b.at):]), p}
}

// Resolve follows the links of a path. Most paths are of one tree, and the kernel
// follows them; those that pass a bind are followed step by step.
func (v *View) Resolve(p string) (Place, error) {
	p = path.Clean("/" + p)
	if v.bindOf(p) == nil {
		resolved, err := v.Tree.Resolve(p)
		if err == nil && v.bindOf(resolved) == nil {
			return Place{v.Tree, resolved, resolved}, nil
		}
		if len(v.binds) == 0 {
			return Place{}, err
		}
	}
	return v.walk(p)
}

// mostLinks is how many links a path may lead through, as for the kernel.
const mostLinks = 40

func (v *View) walk(p string) (Place, error) {
	at, rest, links := "/", strings.Split(strings.Trim(p, "/"), "/"), 0
	for len(rest) > 0 {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		in := v.within(next)
		if in.Path == "/" || v.leadsToBind(next) { // no link: the root of a tree, or on the way to one
			at = next
			continue
		}
		target, err := in.Tree.Readlink(in.Path)
		if err == nil {
			v.seen.AddLink(in.Tree, in.Path, target)
		}
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			at = next
			continue
		case err != nil:
			return Place{}, err
		}
		if links++; links > mostLinks {
			return Place{}, &fs.PathError{Op: "resolve", Path: p, Err: unix.ELOOP}
		}
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest...)
	}
	return v.within(at), nil
}

// leadsToBind tells whether something is bound below the path: it is there then, if not
// in the tree.
func (v *View) leadsToBind(p string) bool {
	return slices.ContainsFunc(v.binds, func(b bind) bool { return strings.HasPrefix(b.at, p+"/") }) && !v.Tree.Exists(p)
}

// Lacks notes that a path leads nowhere of use.
func (v *View) Lacks(p string) {
	in := v.within(p)
	v.seen.AddNone(in.Tree, in.Path)
}

// Saw notes what a path leads to, and how.
func (v *View) Saw(p string, in Place, id host.Identity) {
	v.seen.Add(in.Tree, in.Path, id)
	if asked := v.within(p); asked.Tree == in.Tree && asked.Path != in.Path {
		v.seen.AddThrough(asked.Tree, asked.Path, id)
	}
}

// Split is the directory of a path, and the name there.
func Split(p string) (dir, name string) {
	at := strings.LastIndexByte(p, '/')
	if at <= 0 {
		return "/", p[at+1:]
	}
	return p[:at], p[at+1:]
}

// below is a name in a directory.
func below(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}
