package layers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// ErrBroken says that an image's layers contradict each other.
var ErrBroken = errors.New("inconsistent layers")

// A place says where a member's content is: the layer, and the number of the member in it.
type place struct {
	layer int
	at    int64
}

// A listed member is a member of a layer, with what it says about lower layers.
type listed struct {
	Member
	mark mark
	at   int64
}

// An inode is a member that may have several names.
type inode struct {
	Member
	place
	names []string // in the result
}

// A node is a name in the merged root file system.
type node struct {
	inode  *inode           // nil for a directory that no layer lists
	kids   map[string]*node // of a directory
	layer  int              // the last layer that has it
	purged int              // the last layer, plus 1, that removed what lower layers have here
}

func (n *node) isDirectory() bool { return n.inode == nil || n.inode.Kind == Directory }

// A resolver merges the lists of members, from the lowest layer up, as if each layer were
// unpacked over those below it. It works in memory and writes nothing, so a link can only
// lead to something in the tree.
type resolver struct {
	limits Limits
	root   *node
	steps  int64
}

const (
	linksMost = 40      // in one path, as in Linux (path_resolution(7))
	stepsMost = 1 << 30 // in all paths
)

func newResolver(limits Limits) *resolver {
	return &resolver{limits: limits, root: &node{kids: map[string]*node{}}}
}

// apply adds the list of a layer. Layers are applied in order, from the lowest up.
func (r *resolver) apply(layer int, members []listed) error {
	for i := range members {
		m := &members[i]
		var err error
		switch m.mark {
		case whiteout, opaque:
			err = r.remove(layer, m)
		default:
			err = r.put(layer, m)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", text.Printable(m.Path), err)
		}
	}
	return nil
}

// remove carries out a mark. A mark affects lower layers only, wherever it stands in its own.
func (r *resolver) remove(layer int, m *listed) error {
	dir, name := split(m.Path)
	if m.mark == opaque {
		n, err := r.walk(layer, m.Path, false)
		if n != nil {
			n.purge(layer)
		}
		return err
	}
	parent, err := r.walk(layer, dir, false)
	if err != nil || parent == nil {
		return err
	}
	if n := parent.kids[name]; n != nil && n.layer <= layer {
		n.purge(layer)
		if n.layer < layer && len(n.kids) == 0 {
			delete(parent.kids, name)
		} else if n.inode != nil && n.layer < layer {
			n.inode = nil // stays only as the directory of what this layer has in it
		}
	}
	return nil
}

// purge removes everything below n that only lower layers have.
func (n *node) purge(layer int) {
	if n.purged == layer+1 {
		return
	}
	n.purged = layer + 1
	for name, kid := range n.kids {
		kid.purge(layer)
		if kid.layer < layer {
			if len(kid.kids) == 0 {
				delete(n.kids, name)
			} else {
				kid.inode = nil
			}
		}
	}
}

func (r *resolver) put(layer int, m *listed) error {
	if m.Path == "" {
		return nil // the root is the same for all images: see Flatten
	}
	dir, name := split(m.Path)
	parent, err := r.walk(layer, dir, true)
	if err != nil {
		return err
	}
	there := parent.kids[name]
	if m.Kind == link {
		target, err := r.target(layer, m.Target)
		if err != nil {
			return err
		}
		if there != nil && there.inode == target {
			there.layer = layer
			return nil
		}
		parent.kids[name] = &node{inode: target, layer: layer}
		return nil
	}
	made := &inode{Member: m.Member, place: place{layer, m.at}}
	if m.Kind == Directory && there != nil && there.isDirectory() {
		there.inode, there.layer = made, layer
		return nil
	}
	n := &node{inode: made, layer: layer}
	if m.Kind == Directory {
		n.kids = map[string]*node{}
	}
	parent.kids[name] = n
	return nil
}

// target finds the target of a hard link. It follows links on the way, but not the last element.
func (r *resolver) target(layer int, path string) (*inode, error) {
	dir, name := split(path)
	parent, err := r.walk(layer, dir, false)
	if err != nil {
		return nil, err
	}
	if parent != nil {
		if n := parent.kids[name]; n != nil && !n.isDirectory() {
			return n.inode, nil
		}
	}
	return nil, fmt.Errorf("%w: a hard link to %s, which is not a file", ErrBroken, text.Printable(path))
}

// walk finds a directory and follows links in the path. If the directory is missing, walk makes it
// if make is set, otherwise it returns nil. A directory that it makes replaces anything else.
func (r *resolver) walk(layer int, path string, make bool) (*node, error) {
	way := []*node{r.root}
	var rest []string
	if path != "" {
		rest = strings.Split(path, "/")
	}
	for links := 0; len(rest) > 0; {
		if r.steps++; r.steps > stepsMost {
			return nil, fmt.Errorf("%w: too many links to follow", ErrTooMuch)
		}
		name := rest[0]
		rest = rest[1:]
		here := way[len(way)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		n := here.kids[name]
		if n != nil && !n.isDirectory() && n.inode.Kind == Symlink {
			if links++; links > linksMost {
				return nil, fmt.Errorf("%w: more than %d links in one path", ErrBroken, linksMost)
			}
			if strings.HasPrefix(n.inode.Target, "/") {
				way = way[:1]
			}
			rest = append(strings.Split(n.inode.Target, "/"), rest...)
			continue
		}
		if n == nil || !n.isDirectory() {
			if !make {
				return nil, nil
			}
			if len(way) > r.limits.Depth || len(name) > nameMost {
				return nil, fmt.Errorf("%w: more than %d directories deep", ErrTooMuch, r.limits.Depth)
			}
			n = &node{kids: map[string]*node{}, layer: layer}
			here.kids[name] = n
		}
		way = append(way, n)
	}
	return way[len(way)-1], nil
}

// A plan is a complete root file system, with the places of its contents.
type plan struct {
	inodes      []*inode // with at least one name; sorted by the first
	directories []Member // sorted: each comes after its parent
}

// plan returns the merged root file system of all layers.
func (r *resolver) plan() (*plan, error) {
	p := new(plan)
	seen := map[*inode]bool{}
	var visit func(n *node, path string) error
	visit = func(n *node, path string) error {
		for _, name := range slices.Sorted(maps.Keys(n.kids)) {
			kid, at := n.kids[name], join(path, name)
			if len(at) > pathMost {
				return fmt.Errorf("%w: a path of %d bytes: %s", ErrTooMuch, len(at), text.Quoted(at))
			}
			if !kid.isDirectory() {
				kid.inode.names = append(kid.inode.names, at)
				if !seen[kid.inode] {
					seen[kid.inode] = true
					p.inodes = append(p.inodes, kid.inode)
				}
				continue
			}
			m := Member{Kind: Directory, Mode: 0o755}
			if kid.inode != nil {
				m = kid.inode.Member
			}
			m.Path = at
			p.directories = append(p.directories, m)
			if err := visit(kid, at); err != nil {
				return err
			}
		}
		return nil
	}
	return p, visit(r.root, "")
}
