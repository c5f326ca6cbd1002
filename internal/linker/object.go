package linker

import (
	"errors"
	"io/fs"
	"path"

	"github.com/ocishim/ocishim/internal/host"
)

// An Object is a program or library.
type Object struct {
	host.Library
	At   string // in the view, without links
	File string // on the host
	In   Place
	ID   host.Identity

	// Facts hold what a caller found out about the object, so that it looks only once.
	Facts any
}

// Open reads a program or library; it is read once, whatever paths lead to it.
func (v *View) Open(p string) (*Object, error) {
	if o := v.openIn(Split(p)); o != nil {
		return o, nil
	}
	return nil, &fs.PathError{Op: "read", Path: p, Err: errNoObject}
}

var errNoObject = errors.New("not an ELF file")

// openIn is Open for a file in a directory; nil if not found.
func (v *View) openIn(dir, name string) *Object {
	d := v.Dir(dir)
	if d == nil {
		return nil
	}
	o, ok := d.found[name]
	if !ok {
		o = v.findIn(d, name)
		d.found[name] = o
	}
	return o
}

// findIn finds the file. The kernel follows links within a tree.
func (v *View) findIn(dir *Directory, name string) *Object {
	asked := below(dir.At, name)
	var in Place
	var found host.Found
	var err error
	elsewhere := v.coverOf(asked) != nil
	if !elsewhere {
		found, err = dir.library(name)
		in = Place{dir.Tree, found.Path, found.Path}
		elsewhere = found.Path != "" && v.coverOf(found.Path) != nil || found.Path == "" && v.isLink(dir, name)
	}
	if elsewhere {
		if in, err = v.walk(asked); err != nil || in.Tree == nil {
			return nil
		}
		found, err = in.Tree.FindLibrary(in.Path)
	}
	if found.Path == "" {
		return nil
	}
	v.seen.Add(in.Tree, found.Path, found.Identity)
	if path.Dir(in.At) != dir.At {
		v.Saw(asked, in, found.Identity)
	}
	file := in.Tree.HostPath(in.Path)
	if err == nil && v.objects[file] == nil {
		v.objects[file] = &Object{Library: found.Library, At: in.At, File: file, In: in, ID: found.Identity}
	}
	return v.objects[file]
}

func (d *Directory) library(name string) (host.Found, error) {
	switch {
	case d.Tree == nil:
		return host.Found{}, fs.ErrNotExist
	case d.open == nil:
		return d.Tree.FindLibrary(below(d.Path, name))
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

// isLink reports whether a name that leads nowhere in its tree may lead below a cover.
func (v *View) isLink(dir *Directory, name string) bool {
	if len(v.covers) == 0 || dir.Tree == nil {
		return false
	}
	_, err := dir.Tree.Readlink(below(dir.Path, name))
	return err == nil
}

// Name returns the name by which others load it.
func (o *Object) Name() string {
	if o.Soname != "" {
		return o.Soname
	}
	return path.Base(o.At)
}

// Dir returns the directory that holds it.
func (o *Object) Dir() string { return path.Dir(o.At) }
