package linker

import (
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// A Directory is a directory that is searched for libraries. It stays open.
type Directory struct {
	Place
	open   *host.Directory    // nil if too many are open
	found  map[string]*Object // by name; nil if not found
	names  []string
	listed bool
	ahead  *ahead              // what is being read; nil if nothing is
	read   map[string]*reading // results of reading ahead

	levels  []string // subdirectories for newer processors
	leveled bool     // levels is complete
}

// mostOpen bounds how many directories of a view stay open: an image can name any
// number of search paths.
const mostOpen = 100

// Dir opens a directory, once; nil if it does not exist.
func (v *View) Dir(p string) *Directory {
	d, ok := v.dirs[p]
	if !ok {
		if at, ok := v.physical(p); ok {
			d = v.enter(at)
		}
		v.dirs[p] = d
	}
	return d
}

func (v *View) enter(p string) *Directory {
	in, open, err := v.openDir(p)
	if err != nil {
		v.Lacks(p)
		return nil
	}
	if open != nil {
		v.Saw(p, in, open.Identity)
	}
	if known := v.entered[in]; known != nil {
		if open != nil {
			open.Close()
		}
		return known
	}
	d := &Directory{Place: in, open: open, found: map[string]*Object{}, read: map[string]*reading{}}
	if open != nil {
		open.Trusted = v.Trusted
	}
	if open != nil && len(v.entered) >= mostOpen {
		open.Close()
		d.open = nil
	}
	v.entered[in] = d
	return d
}

// openDir is Resolve for a directory; nil for one that is made for the container.
func (v *View) openDir(p string) (Place, *host.Directory, error) {
	if v.coverOf(p) == nil {
		d, err := v.Tree.OpenDirectory(p)
		switch {
		case err == nil && v.coverOf(d.Path) == nil:
			return Place{v.Tree, d.Path, d.Path}, d, nil
		case err == nil:
			d.Close()
		case len(v.covers) == 0:
			return Place{}, nil, err
		}
	}
	in, err := v.walk(p)
	if err != nil || in.Tree == nil {
		return in, nil, err
	}
	d, err := in.Tree.OpenDirectory(in.Path)
	return in, d, err
}

// List returns the names in a directory, in no order.
func (v *View) List(p string) []string {
	d := v.Dir(p)
	if d == nil {
		return nil
	}
	return d.list()
}

func (d *Directory) list() []string {
	if !d.listed {
		d.listed = true
		switch {
		case d.open != nil:
			d.names = d.open.Names()
		case d.Tree != nil:
			d.names = d.Tree.Names(d.Path)
		}
	}
	return d.names
}

// Sorted is List in order.
func (v *View) Sorted(p string) []string {
	names := slices.Clone(v.List(p))
	slices.Sort(names)
	return names
}

// Plugins returns the libraries in a directory, in order.
func (v *View) Plugins(p string) []string {
	return slices.DeleteFunc(v.Sorted(p), func(name string) bool { return !strings.HasSuffix(name, ".so") })
}

// Has reports whether the directory holds another file with that name.
func (d *Directory) Has(name string) bool {
	if d.open == nil || d.listed {
		return slices.Contains(d.list(), name) && (d.open == nil || d.open.HasDirectory(name))
	}
	return d.open.HasDirectory(name)
}
