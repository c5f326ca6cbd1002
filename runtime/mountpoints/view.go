package mountpoints

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// A view finds out where paths lead in a container: in the image, and in what is mounted over it.
// This only plans what launchers will find; they check it again by descriptors.
type view struct {
	root *os.File               // of the image
	over map[string]specs.Mount // by paths without links
	dirs map[string]lead        // found since the last directory was mounted

	// earlier are the mounts that exist when the next one is made, and only are the mounts that
	// count now; nil for all.
	earlier, only map[string]bool
}

// maxLinks limits the symbolic links that are followed in a path, as the kernel does.
const maxLinks = 40

// Find returns where a path leads, with links followed, in a container with the mounts over the
// image, whose directory is open as root: a path without links, and the type of what is there
// (S_IFMT), 0 for nothing.
func Find(root *os.File, mounts []specs.Mount, path string) (at string, kind uint32) {
	v := newView(root)
	for _, m := range mounts {
		v.mount(v.find(m.Destination).path, m)
	}
	found := v.find(path)
	return found.path, found.kind
}

func newView(root *os.File) *view {
	return &view{root, map[string]specs.Mount{}, map[string]lead{}, map[string]bool{}, nil}
}

// mount records that something is mounted at the path.
func (v *view) mount(path string, m specs.Mount) {
	v.over[path] = m
	if !isFile(m) {
		clear(v.dirs)
	}
}

// findIn is find for many paths in few directories.
func (v *view) findIn(path string) lead {
	clean := filepath.Clean("/" + path)
	if clean == "/" || strings.Contains(path, "..") {
		return v.find(path)
	}
	parent, name := filepath.Split(clean)
	dir, known := v.dirs[parent]
	if !known {
		dir = v.find(parent)
		v.dirs[parent] = dir
	}
	at := filepath.Join(dir.path, name)
	if _, mounted := v.over[at]; mounted || dir.kind != unix.S_IFDIR {
		return v.find(path)
	}
	kind, _ := v.look(at, false)
	if kind == unix.S_IFLNK {
		return v.find(path)
	}
	dir.path, dir.kind = at, kind
	return dir
}

// A lead is where a path leads.
type lead struct {
	path    string // without links
	kind    uint32 // S_IFMT of what is there; 0 for nothing
	deepest string // the last directory on the way that exists
	on      string // the mount that it is in; empty for the image

	// link is the first link of the image on the way, or what is there instead of a directory, at
	// which the path leaves the image: it leads into a mount, or in circles. rest is the rest of
	// the path after that.
	link, rest string
}

// A tour is the work of view.find.
type tour struct {
	*view
	at        lead
	elements  []string // still to go
	links     int
	exact     bool
	stopped   bool
	outer     string // the link of the path itself that is followed now
	outerLeft int    // the rest of the path after it
}

// find walks a path to where it leads.
func (v *view) find(path string) lead { return v.walk(path, false) }

// findExact walks a path whose links must stay in the image. It does not follow a link at the end,
// and stops at the first link that leads into a mount, whenever that is made, except into an
// existing tmpfs of the container.
func (v *view) findExact(path string) lead {
	v.only = v.earlier
	defer func() { v.only = nil }()
	return v.walk(path, true)
}

// counts reports whether there is a mount at the path.
func (v *view) counts(path string) bool {
	_, mounted := v.over[path]
	return mounted && (v.only == nil || v.only[path])
}

func (v *view) isFresh(path string) bool {
	m := v.over[path]
	return v.earlier[path] && m.Type == "tmpfs" && !bundle.IsBind(m)
}

func (v *view) walk(path string, exact bool) lead {
	w := &tour{view: v, at: lead{path: "/", deepest: "/", kind: unix.S_IFDIR}, elements: elements(path), exact: exact}
	for len(w.elements) > 0 && !w.stopped {
		if w.outer != "" && len(w.elements) <= w.outerLeft {
			w.outer = ""
		}
		name := w.elements[0]
		w.elements = w.elements[1:]
		if name == ".." {
			w.up()
			continue
		}
		if name != "." {
			w.step(filepath.Join(w.at.path, name))
		}
	}
	return w.at
}

func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func (w *tour) up() {
	w.at.path = filepath.Dir(w.at.path)
	w.at.on = w.mountOf(w.at.path)
	if w.at.kind, _ = w.look(w.at.path, false); w.at.kind == unix.S_IFDIR {
		w.at.deepest = w.at.path
	}
}

// step goes to next, which is below where we are.
func (w *tour) step(next string) {
	itself := w.exact && w.outer == "" && len(w.elements) == 0
	mounted := w.counts(next)
	if _, ever := w.over[next]; ever && !itself {
		if w.outer != "" && w.at.on == "" && w.at.link == "" && (!w.exact || !w.isFresh(next)) {
			w.stop(w.outer, w.outerLeft, w.exact)
			if w.stopped {
				return
			}
		}
		if mounted {
			w.at.on = next
		}
	}
	kind, readlink := w.look(next, itself)
	if w.at.kind == 0 && !mounted {
		kind = 0
	}
	switch {
	case kind == unix.S_IFLNK && !itself:
		w.follow(next, readlink)
		return
	case kind == unix.S_IFDIR:
		w.at.deepest = next
	case kind != 0 && len(w.elements) > 0: // not a directory, and the path goes on
		if w.at.on == "" && w.exact {
			w.stop(next, len(w.elements), true)
			return
		}
		kind = 0
	}
	w.at.path, w.at.kind = next, kind
}

func (w *tour) follow(link string, readlink func() (string, error)) {
	w.links++
	text, err := readlink()
	if w.outer == "" && w.at.on == "" {
		w.outer, w.outerLeft = link, len(w.elements)
	}
	if err != nil || w.links > maxLinks {
		w.stop(link, len(w.elements), true)
		w.at.kind = 0
		return
	}
	w.elements = append(elements(text), w.elements...)
	if filepath.IsAbs(text) {
		w.at.path, w.at.deepest, w.at.on, w.at.kind = "/", "/", "", unix.S_IFDIR
	}
}

// stop records where the path leaves the image. It prefers a link of the path itself to a link that
// another one leads to.
func (w *tour) stop(at string, left int, forGood bool) {
	w.stopped = forGood
	if w.outer != "" {
		at, left = w.outer, w.outerLeft
	}
	w.at.link = at
	w.at.rest = strings.Join(w.elements[max(0, len(w.elements)-left):], "/")
}

// mountOf returns the mount that the path is in, or at.
func (v *view) mountOf(path string) string {
	for at := path; at != "/"; at = filepath.Dir(at) {
		if v.counts(at) {
			return at
		}
	}
	return ""
}

// look returns the type of what is at the path, which has no links in it, and how to read a link.
// If before is set, it ignores a mount at the path itself.
func (v *view) look(path string, before bool) (kind uint32, readlink func() (string, error)) {
	at := path
	if before {
		at = filepath.Dir(path)
	}
	if at = v.mountOf(at); at != "" {
		m := v.over[at]
		switch {
		case bundle.IsBind(m):
			return lookOnHost(m.Source, strings.TrimPrefix(path, at))
		case path == at || m.Type != "tmpfs":
			return unix.S_IFDIR, nil // the kernel has it there, so it is not made
		}
		return 0, nil
	}
	dir, name := filepath.Split(path)
	if name == "" {
		return unix.S_IFDIR, nil
	}
	fd, err := inplace.OpenIn(int(v.root.Fd()), dir)
	if err != nil {
		return 0, nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0, nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return st.Mode & unix.S_IFMT, nil
	}
	text, err := readLinkAt(fd, name)
	return unix.S_IFLNK, func() (string, error) { return text, err }
}

func lookOnHost(source, rel string) (kind uint32, readlink func() (string, error)) {
	path := source + rel
	stat := unix.Lstat
	if rel == "" {
		stat = unix.Stat // a bind follows a link at its source
	}
	var st unix.Stat_t
	if err := stat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return 0, nil
		}
		return unix.S_IFDIR, nil // without permission to look, nothing can be made there either
	}
	return st.Mode & unix.S_IFMT, func() (string, error) { return os.Readlink(path) }
}

func readLinkAt(fd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
