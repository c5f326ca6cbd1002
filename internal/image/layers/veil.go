package layers

import "strings"

// A veil is what upper layers hide of the next lower one. It follows no links, so it can
// hide too little or too much: what was written by it is compared with the resolver's plan.
type veil struct {
	kids map[string]*veil
	over bool // nothing of lower layers is seen here or below
	open bool // a directory in which nothing of lower layers is seen
}

// hides reports whether a file of a lower layer at the path is not seen.
func (v *veil) hides(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if v.over || v.open {
			return true
		}
		if v = v.kids[name]; v == nil {
			return false
		}
	}
	return true // something of an upper layer is here, be it a directory
}

// draw adds what a whole layer has.
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

// written are the paths that a writer has files at, and the directories that lead to them.
type written map[string]bool

// fits reports whether a file at the path is in the way of none that is there.
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
