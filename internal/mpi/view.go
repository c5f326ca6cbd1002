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

	// trusted is what only the site changes.
	trusted bool

	objects map[string]*object    // by their path on the node
	dirs    map[string]*directory // by the path that was asked for; nil for none
	entered map[place]*directory  // those, by what the paths lead to
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

// A directory is where libraries are searched. It stays open.
type directory struct {
	place
	open   *host.Directory    // nil where too many are
	found  map[string]*object // by name; nil for none
	names  []string
	listed bool
	ahead  *ahead              // what is being read; nil for none
	read   map[string]*reading // what was read ahead

	levels  []string // below it, for newer processors
	leveled bool     // they were looked for
}

// mostOpen is how many directories of a view stay open: what an image says of search
// paths has no end.
const mostOpen = 100

// An object is a program or library.
type object struct {
	host.Library
	at   string // in the view, without links
	file string // on the node
	in   place
	id   host.Identity

	identity *Library // what identifyMPI has found
	opens    *bool    // it can open libraries, once that was looked for
}

func newView(tree *host.Tree, seen *witnesses) *view {
	return &view{tree: tree, objects: map[string]*object{}, dirs: map[string]*directory{}, entered: map[place]*directory{}, seen: seen}
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

// dir opens a directory, once; nil is none.
func (v *view) dir(p string) *directory {
	d, ok := v.dirs[p]
	if !ok {
		if at, ok := v.physical(p); ok {
			d = v.enter(at)
		}
		v.dirs[p] = d
	}
	return d
}

func (v *view) enter(p string) *directory {
	in, open, err := v.openDir(p)
	if err != nil {
		v.seen.addNone(v.within(p).tree, v.within(p).path)
		return nil
	}
	v.saw(p, in, open.Identity)
	if known := v.entered[in]; known != nil {
		open.Close()
		return known
	}
	d := &directory{place: in, open: open, found: map[string]*object{}, read: map[string]*reading{}}
	if open.Trusted = v.trusted; len(v.entered) >= mostOpen {
		open.Close()
		d.open = nil
	}
	v.entered[in] = d
	return d
}

// openDir is resolve of a directory.
func (v *view) openDir(p string) (place, *host.Directory, error) {
	if v.bindOf(p) == nil {
		d, err := v.tree.OpenDirectory(p)
		switch {
		case err == nil && v.bindOf(d.Path) == nil:
			return place{v.tree, d.Path, d.Path}, d, nil
		case err == nil:
			d.Close()
		case len(v.binds) == 0:
			return place{}, nil, err
		}
	}
	in, err := v.walk(p)
	if err != nil {
		return place{}, nil, err
	}
	d, err := in.tree.OpenDirectory(in.path)
	return in, d, err
}

// list is what a directory holds, in no order.
func (v *view) list(p string) []string {
	d := v.dir(p)
	if d == nil {
		return nil
	}
	if !d.listed {
		if d.listed = true; d.open != nil {
			d.names = d.open.Names()
		} else {
			d.names = d.tree.Names(d.path)
		}
	}
	return d.names
}

// sorted is list in order.
func (v *view) sorted(p string) []string {
	names := slices.Clone(v.list(p))
	slices.Sort(names)
	return names
}

// plugins are the libraries of a directory, in order.
func (v *view) plugins(p string) []string {
	return slices.DeleteFunc(v.sorted(p), func(name string) bool { return !strings.HasSuffix(name, ".so") })
}

// saw notes what a path leads to, and how.
func (v *view) saw(p string, in place, id host.Identity) {
	v.seen.add(in.tree, in.path, id)
	if asked := v.within(p); asked.tree == in.tree && asked.path != in.path {
		v.seen.addThrough(asked.tree, asked.path, id)
	}
}

// open reads a program or library; it is read once, by whatever path it is found.
func (v *view) open(p string) (*object, error) {
	if o := v.openIn(split(p)); o != nil {
		return o, nil
	}
	return nil, &fs.PathError{Op: "read", Path: p, Err: errNoObject}
}

var errNoObject = errors.New("no ELF file is there")

// openIn is open of a file in a directory; nil for none.
func (v *view) openIn(dir, name string) *object {
	d := v.dir(dir)
	if d == nil {
		return nil
	}
	o, ok := d.found[name]
	if !ok {
		o = v.find(d, name)
		d.found[name] = o
	}
	return o
}

// find looks for it. The kernel follows the links within a tree.
func (v *view) find(dir *directory, name string) *object {
	asked := below(dir.at, name)
	var in place
	var found host.Found
	var err error
	elsewhere := v.bindOf(asked) != nil
	if !elsewhere {
		found, err = dir.library(name)
		in = place{dir.tree, found.Path, found.Path}
		elsewhere = found.Path != "" && v.bindOf(found.Path) != nil || found.Path == "" && v.isLink(dir, name)
	}
	if elsewhere {
		if in, err = v.walk(asked); err != nil {
			return nil
		}
		found, err = in.tree.FindLibrary(in.path)
	}
	if found.Path == "" {
		return nil
	}
	v.seen.add(in.tree, found.Path, found.Identity)
	if path.Dir(in.at) != dir.at {
		v.saw(asked, in, found.Identity)
	}
	file := in.tree.HostPath(in.path)
	if err == nil && v.objects[file] == nil {
		v.objects[file] = &object{Library: found.Library, at: in.at, file: file, in: in, id: found.Identity}
	}
	return v.objects[file]
}

func (d *directory) library(name string) (host.Found, error) {
	if d.open == nil {
		return d.tree.FindLibrary(below(d.path, name))
	}
	if d.ahead != nil {
		d.ahead.finish(d.read)
		d.ahead = nil
	}
	if r, ok := d.read[name]; ok {
		return r.found, r.err
	}
	return d.open.FindLibrary(name)
}

// isLink tells of a name that leads nowhere in its tree whether it may lead into a bind.
func (v *view) isLink(dir *directory, name string) bool {
	if len(v.binds) == 0 {
		return false
	}
	_, err := dir.tree.Readlink(below(dir.path, name))
	return err == nil
}

// split is the directory of a path, and the name there.
func split(p string) (dir, name string) {
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

// name is by which others ask for it.
func (o *object) name() string {
	if o.Soname != "" {
		return o.Soname
	}
	return path.Base(o.at)
}

func (o *object) dir() string { return path.Dir(o.at) }
