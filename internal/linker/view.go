package linker

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host"
)

// A View is what a process sees: a tree, with mounts and created files over it. It
// reports whatever it looks at to a witness, with the identity, so that a later call
// can check whether all of it is unchanged.
type View struct {
	Tree   *host.Tree
	node   *host.Tree
	covers []*cover          // none of them hides another
	ways   map[string]bool   // paths of covers and the directories above: they exist, even if not in the tree
	links  map[string]string // made for the container
	real   map[string]string // paths of mounts, with links resolved
	looked map[string]look   // by paths that may be links

	// Trusted means that only the site changes the tree.
	Trusted bool

	objects map[string]*Object    // by path on the host
	dirs    map[string]*Directory // by requested path; nil if it does not exist
	entered map[Place]*Directory  // the same directories, by resolved path
	seen    Witness
}

// A look is the result for a path: the target of a link, or why it is not a link.
type look struct {
	target string
	err    error
}

// A Place is where something is: a path in a tree, without links. A directory that is
// made for a container has no tree.
type Place struct {
	Tree *host.Tree
	Path string // in the tree
	At   string // in the view
}

// NewView returns a view of a tree without mounts. The witness may be nil.
func NewView(tree *host.Tree, seen Witness) *View {
	if seen == nil {
		seen = nobody{}
	}
	return &View{Tree: tree, objects: map[string]*Object{}, dirs: map[string]*Directory{}, entered: map[Place]*Directory{}, seen: seen}
}

// Close closes everything that the view holds open.
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

// within returns the place of a path of which only the last part may be a link.
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

// Resolve follows the links of a path. Most paths stay in one tree, and the kernel
// follows them; paths that pass a cover are followed step by step.
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
		if in.Tree != nil && in.Path == "/" { // not a link: the root of a tree
			at = next
			continue
		}
		target, err := v.readlink(next, in)
		switch {
		case errors.Is(err, unix.EINVAL): // not a link
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

// readlink returns the target of a link in a directory without links.
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

// Lacks records that a path leads to nothing useful.
func (v *View) Lacks(p string) {
	if in := v.within(p); in.Tree != nil {
		v.seen.AddNone(in.Tree, in.Path)
	}
}

// Saw records what a path leads to, and how.
func (v *View) Saw(p string, in Place, id host.Identity) {
	if in.Tree == nil {
		return
	}
	v.seen.Add(in.Tree, in.Path, id)
	if asked := v.within(p); asked.Tree == in.Tree && asked.Path != in.Path {
		v.seen.AddThrough(asked.Tree, asked.Path, id)
	}
}

// Split returns the directory of a path, and the name in it.
func Split(p string) (dir, name string) {
	at := strings.LastIndexByte(p, '/')
	if at <= 0 {
		return "/", p[at+1:]
	}
	return p[:at], p[at+1:]
}

// below returns the path of a name in a directory.
func below(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}
