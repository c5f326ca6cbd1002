package linker

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host"
)

// A View is what a process sees: a tree, and what is mounted and made over it. What it
// looks at it tells a witness, with the identity, so that a later call can find out
// whether all of it is as it was.
type View struct {
	Tree   *host.Tree
	node   *host.Tree
	covers []*cover          // none of them hides another
	ways   map[string]bool   // covers, and directories above: they are there, if not in the tree
	links  map[string]string // what is made for the container
	real   map[string]string // paths of mounts, without links
	looked map[string]look   // by paths that may be links

	// Trusted says that only the site changes the tree.
	Trusted bool

	objects map[string]*Object    // by their path on the host
	dirs    map[string]*Directory // by the path that was asked for; nil for none
	entered map[Place]*Directory  // those, by what the paths lead to
	seen    Witness
}

// A look is what was found at a path: what a link holds, or why it is none.
type look struct {
	target string
	err    error
}

// A Place is where something is: a path in a tree, without links. A directory that is
// made for a container is in no tree.
type Place struct {
	Tree *host.Tree
	Path string // in the tree
	At   string // in the view
}

// NewView is a view of a tree with nothing over it. The witness may be nil.
func NewView(tree *host.Tree, seen Witness) *View {
	if seen == nil {
		seen = nobody{}
	}
	return &View{Tree: tree, objects: map[string]*Object{}, dirs: map[string]*Directory{}, entered: map[Place]*Directory{}, seen: seen}
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
	for _, c := range v.covers {
		if c.tree != nil {
			c.tree.Close()
		}
	}
}

// within is the place of a path of which only the last part may be a link.
func (v *View) within(p string) Place {
	c := v.coverOf(p)
	switch {
	case c == nil:
		return Place{v.Tree, p, p}
	case c.open(v.node) == nil:
		return Place{At: p}
	case c.file != "":
		return Place{c.tree, c.file, p}
	}
	return Place{c.tree, path.Clean("/" + p[len(c.at):]), p}
}

// Resolve follows the links of a path. Most paths are of one tree, and the kernel
// follows them; those that pass a cover are followed step by step.
func (v *View) Resolve(p string) (Place, error) {
	p = path.Clean("/" + p)
	if v.coverOf(p) == nil {
		resolved, err := v.Tree.Resolve(p)
		if err == nil && v.coverOf(resolved) == nil {
			return Place{v.Tree, resolved, resolved}, nil
		}
		if len(v.covers) == 0 {
			return Place{}, err
		}
	}
	return v.walk(p)
}

func (v *View) walk(p string) (Place, error) {
	at, rest, links, made := "/", strings.Split(strings.Trim(p, "/"), "/"), 0, ""
	for len(rest) > 0 {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		in := v.within(next)
		if in.Tree != nil && in.Path == "/" { // no link: the root of a tree
			at = next
			continue
		}
		target, err := v.readlink(next, in)
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			at = next
			continue
		case err != nil && v.ways[next]:
			at, made = next, next
			continue
		case err != nil:
			return Place{}, err
		}
		if links++; links > host.MostLinks {
			return Place{}, &fs.PathError{Op: "resolve", Path: p, Err: unix.ELOOP}
		}
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest...)
	}
	if at == made {
		return Place{At: at}, nil
	}
	return v.within(at), nil
}

// readlink is what a link holds, at a path whose directory has no links.
func (v *View) readlink(p string, in Place) (string, error) {
	if target, ok := v.links[p]; ok {
		return target, nil
	}
	if in.Tree == nil {
		return "", &fs.PathError{Op: "readlink", Path: p, Err: fs.ErrNotExist}
	}
	known, ok := v.looked[p]
	if !ok {
		known.target, known.err = in.Tree.Readlink(in.Path)
		if v.looked == nil {
			v.looked = map[string]look{}
		}
		v.looked[p] = known
	}
	if known.err == nil {
		v.seen.AddLink(in.Tree, in.Path, known.target)
	}
	return known.target, known.err
}

// Lacks notes that a path leads nowhere of use.
func (v *View) Lacks(p string) {
	if in := v.within(p); in.Tree != nil {
		v.seen.AddNone(in.Tree, in.Path)
	}
}

// Saw notes what a path leads to, and how.
func (v *View) Saw(p string, in Place, id host.Identity) {
	if in.Tree == nil {
		return
	}
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
