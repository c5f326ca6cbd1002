package layers

import "strings"

// A veil is what upper layers hide of the next lower one. It does not follow links, so it may hide
// too little or too much: the result is compared with the resolver's plan.
type veil struct {
	kids map[string]*veil
	over bool // lower layers are hidden here and below
	open bool // a directory whose members in lower layers are hidden
}

// hides reports whether a file of a lower layer at the path is hidden.
func (v *veil) hides(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if v.over || v.open {
			return true
		}
		if v = v.kids[name]; v == nil {
			return false
		}
	}
	return true // an upper layer has something here, if only a directory
}

// draw adds what a layer hides.
func (v *veil) draw(members []listed) {
	for i := range members {
		m := &members[i]
		n := v.at(m.Path)
		switch {
		case m.mark == opaque:
			n.open = true
		case m.mark == whiteout, m.Kind != Directory:
			n.over = true
		}
	}
}

func (v *veil) at(path string) *veil {
	if path == "" {
		return v
	}
	for name := range strings.SplitSeq(path, "/") {
		next := v.kids[name]
		if next == nil {
			next = new(veil)
			if v.kids == nil {
				v.kids = map[string]*veil{}
			}
			v.kids[name] = next
		}
		v = next
	}
	return v
}

// written holds the paths of the files that were written (true) and of their directories (false).
type written map[string]bool

// fits reports whether a file at the path would not conflict with a file that was written.
func (w written) fits(path string) bool {
	if _, there := w[path]; there {
		return false
	}
	for dir, _ := split(path); dir != ""; dir, _ = split(dir) {
		isFile, there := w[dir]
		if isFile {
			return false
		}
		if there {
			break
		}
	}
	return true
}

func (w written) add(path string) {
	w[path] = true
	for dir, _ := split(path); dir != ""; dir, _ = split(dir) {
		if _, there := w[dir]; there {
			break
		}
		w[dir] = false
	}
}
