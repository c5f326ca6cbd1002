package linker

import (
	"maps"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// A cover is what hides a path of the view: a file or directory of the host, a link, or
// something without libraries, such as a tmpfs or a created file.
type cover struct {
	at     string
	source string // on the host; empty if it holds no libraries
	opened bool
	tree   *host.Tree
	file   string // the source's path in the tree, if it is a file
}

// open opens the source when a path leads there; nil if there is nothing to find.
func (c *cover) open(node *host.Tree) *host.Tree {
	if c.opened || c.source == "" {
		return c.tree
	}
	c.opened = true
	source, err := node.Resolve(c.source)
	if err != nil {
		return nil
	}
	dir := source
	if !node.IsDir(source) {
		dir, c.file = path.Dir(source), "/"+path.Base(source)
	}
	if c.tree, err = node.Sub(dir); err != nil {
		c.tree = nil
	}
	return c.tree
}

// Mount puts a container's mounts over the tree, in their order. Only bind mounts have
// libraries, and of those /proc and /sys have none.
func (v *View) Mount(mounts []specs.Mount, node *host.Tree) {
	v.node = node
	for _, m := range mounts {
		c := &cover{at: v.destination(path.Clean("/" + m.Destination))}
		if bundle.IsBind(m) && path.IsAbs(m.Source) && c.at != "/proc" && c.at != "/sys" {
			c.source = m.Source
		}
		v.cover(c)
	}
}

// Make puts what edits make over the tree: links, and files that are not libraries.
func (v *View) Make(links []bundle.Link, files []bundle.File) {
	for _, f := range files {
		v.cover(&cover{at: v.destination(path.Clean("/" + f.Path))})
	}
	for _, l := range links {
		dir, name := Split(path.Clean("/" + l.Path))
		c := &cover{at: below(v.destination(dir), name)}
		v.cover(c)
		if v.links == nil {
			v.links = map[string]string{}
		}
		v.links[c.at] = l.Target
	}
}

// cover adds a cover and removes those that it hides.
func (v *View) cover(c *cover) {
	if c.at == "/" {
		return
	}
	before := len(v.covers)
	v.covers = slices.DeleteFunc(v.covers, func(old *cover) bool { return c.over(old.at) })
	if len(v.covers) < before {
		maps.DeleteFunc(v.links, func(p, _ string) bool { return c.over(p) })
		v.ways = nil
		for _, old := range v.covers {
			v.leadTo(old.at)
		}
	}
	v.covers = append(v.covers, c)
	v.leadTo(c.at)
	maps.DeleteFunc(v.real, func(p, _ string) bool { return c.over(p) })
	maps.DeleteFunc(v.looked, func(p string, _ look) bool { return c.over(p) })
}

// leadTo records that a path and all directories above it exist.
func (v *View) leadTo(p string) {
	if v.ways == nil {
		v.ways = map[string]bool{}
	}
	for ; !v.ways[p]; p = path.Dir(p) {
		v.ways[p] = true
	}
}

// over reports whether a path is at or below the cover.
func (c *cover) over(p string) bool {
	rest, ok := strings.CutPrefix(p, c.at)
	return ok && (rest == "" || rest[0] == '/')
}

// coverOf finds the deepest cover at or above the path.
func (v *View) coverOf(p string) (deepest *cover) {
	for _, c := range v.covers {
		if c.over(p) && (deepest == nil || len(c.at) > len(deepest.at)) {
			deepest = c
		}
	}
	return deepest
}

// destination returns where a mount goes: as in the kernel, its path may lead through
// links of the image. Missing directories are created at the path as given.
func (v *View) destination(p string) string {
	if p == "/" || ofKernel(p) {
		return p
	}
	at, ok := v.real[p]
	if ok {
		return at
	}
	if in, err := v.Resolve(p); err == nil {
		at = in.At
	} else {
		dir, name := Split(p)
		at = below(v.destination(dir), name)
	}
	if v.real == nil {
		v.real = map[string]string{}
	}
	v.real[p] = at
	return at
}

// ofKernel reports whether a path is in a directory in which images have no links.
func ofKernel(p string) bool {
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}
