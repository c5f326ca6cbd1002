package mpi

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

// A view is what a process sees: a tree, and what of the node is bound into it. What
// it looks at it writes down, with the identity, so that a later call can tell whether
// all of it is as it was.
type view struct {
	tree  *host.Tree
	binds []bind // the deepest first

	objects map[string]*object // by their path on the node
	opened  map[string]*object // by the path that was asked for; nil for none
	dirs    map[string]*place  // by their path in the view
	seen    *witnesses
}

// A bind is a file or directory of the node at a path of the view.
type bind struct {
	at   string
	tree *host.Tree
	file string // its path in the tree, where it is a file
}

// A place is where something is: a path in a tree, without links.
type place struct {
	tree *host.Tree
	path string // in the tree
	at   string // in the view
}

// An object is a program or library.
type object struct {
	host.Library
	at   string // in the view, without links
	file string // on the node
	in   place
	id   host.Identity

	identity *Library // what identifyMPI has found
}

func newView(tree *host.Tree, seen *witnesses) *view {
	return &view{tree: tree, objects: map[string]*object{}, opened: map[string]*object{}, dirs: map[string]*place{}, seen: seen}
}

// bind adds the mounts of a container that show something of the node.
func (v *view) bind(mounts []specs.Mount, node *host.Tree) {
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

func (v *view) close() {
	for _, b := range v.binds {
		b.tree.Close()
	}
}

// bindOf finds what is bound at or above the path.
func (v *view) bindOf(p string) *bind {
	for i, b := range v.binds {
		if p == b.at || strings.HasPrefix(p, b.at+"/") {
			return &v.binds[i]
		}
	}
	return nil
}

// within is the place of a path of which only the last part may be a link.
func (v *view) within(p string) place {
	b := v.bindOf(p)
	switch {
	case b == nil:
		return place{v.tree, p, p}
	case b.file != "":
		return place{b.tree, b.file, p}
	}
	return place{b.tree, path.Clean("/" + p[len(b.at):]), p}
}

// resolve follows the links of a path. Most paths are of one tree, and the kernel
// follows them; those that pass a bind are followed step by step.
func (v *view) resolve(p string) (place, error) {
	p = path.Clean("/" + p)
	if v.bindOf(p) == nil {
		resolved, err := v.tree.Resolve(p)
		if err == nil && v.bindOf(resolved) == nil {
			return place{v.tree, resolved, resolved}, nil
		}
		if len(v.binds) == 0 {
			return place{}, err
		}
	}
	return v.walk(p)
}

// mostLinks is how many links a path may lead through, as for the kernel.
const mostLinks = 40

func (v *view) walk(p string) (place, error) {
	at, rest, links := "/", strings.Split(strings.Trim(p, "/"), "/"), 0
	for len(rest) > 0 {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		in := v.within(next)
		if in.path == "/" || v.leadsToBind(next) { // no link: the root of a tree, or on the way to one
			at = next
			continue
		}
		target, err := in.tree.Readlink(in.path)
		if err == nil {
			v.seen.addLink(in.tree, in.path, target)
		}
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			at = next
			continue
		case err != nil:
			return place{}, err
		}
		if links++; links > mostLinks {
			return place{}, &fs.PathError{Op: "resolve", Path: p, Err: unix.ELOOP}
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
func (v *view) leadsToBind(p string) bool {
	return slices.ContainsFunc(v.binds, func(b bind) bool { return strings.HasPrefix(b.at, p+"/") }) && !v.tree.Exists(p)
}

// dir resolves a directory, once; nil is none.
func (v *view) dir(p string) *place {
	p = path.Clean("/" + p)
	if known, ok := v.dirs[p]; ok {
		return known
	}
	in, err := v.resolve(p)
	if err != nil || !in.tree.IsDir(in.path) {
		v.dirs[p] = nil
		v.seen.addAsked(v.within(p).tree, v.within(p).path)
		return nil
	}
	v.saw(p, in)
	v.dirs[p] = &in
	return &in
}

// saw notes what a path leads to, and how.
func (v *view) saw(p string, in place) {
	v.seen.add(in.tree, in.path)
	if asked := v.within(p); asked.tree == in.tree && asked.path != in.path {
		v.seen.addAsked(asked.tree, asked.path)
	}
}

// open reads a program or library; it is read once, by whatever path it is found.
func (v *view) open(p string) (*object, error) {
	o, ok := v.opened[p]
	if !ok {
		o = v.find(p)
		v.opened[p] = o
	}
	if o == nil {
		return nil, &fs.PathError{Op: "read", Path: p, Err: errNoObject}
	}
	return o, nil
}

var errNoObject = errors.New("no ELF file is there")

// find is open; nil for none. The kernel follows the links within a tree.
func (v *view) find(p string) *object {
	dir := v.dir(path.Dir(p))
	if dir == nil {
		return nil
	}
	in := place{dir.tree, path.Join(dir.path, path.Base(p)), path.Join(dir.at, path.Base(p))}
	var found host.Found
	var err error
	elsewhere := v.bindOf(in.at) != nil
	if !elsewhere {
		found, err = in.tree.FindLibrary(in.path)
		elsewhere = found.Path != "" && v.bindOf(found.Path) != nil || found.Path == "" && v.isLink(in)
	}
	if elsewhere {
		if in, err = v.walk(in.at); err != nil {
			return nil
		}
		found, err = in.tree.FindLibrary(in.path)
	} else if found.Path != "" {
		in.path, in.at = found.Path, found.Path
	}
	if found.Path == "" {
		return nil
	}
	v.seen.addFile(in.tree, found)
	if path.Dir(in.at) != dir.at {
		v.saw(p, in)
	}
	file := in.tree.HostPath(in.path)
	if err == nil && v.objects[file] == nil {
		v.objects[file] = &object{Library: found.Library, at: in.at, file: file, in: in, id: found.Identity}
	}
	return v.objects[file]
}

// isLink tells of a path that leads nowhere in its tree whether it may lead into a bind.
func (v *view) isLink(in place) bool {
	if len(v.binds) == 0 {
		return false
	}
	_, err := in.tree.Readlink(in.path)
	return err == nil
}

// name is by which others ask for it.
func (o *object) name() string {
	if o.Soname != "" {
		return o.Soname
	}
	return path.Base(o.at)
}

func (o *object) dir() string { return path.Dir(o.at) }
