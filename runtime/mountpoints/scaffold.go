// Package mountpoints finds the places that a container's mounts go to, without writing to its
// image. It makes what the image lacks in a directory of ours: mount points, and the files, links
// and directories that the specification cannot express. Each function takes a bundle, does not
// change it, and returns the edit that uses what the function made.
package mountpoints

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// Options depend on the launcher for which mount points are planned.
type Options struct {
	// ByPath is for a launcher that binds parts of the image by path. With any cover the root is
	// covered as well, since a cover in the image itself would hide these paths.
	ByPath bool

	// Strict makes nothing in a directory of the host, whatever leads there. Without it, only links
	// of the image must not lead there.
	Strict bool

	// Layer is for a container with a layer for changes: what is missing is made there, and
	// nothing needs a cover.
	Layer bool
}

// A Plan says how the mounts of a container find their places.
type Plan struct {
	// Edit puts what was made into the container; it may be empty.
	Edit bundle.Edit

	// OfImage are the destinations of the edit's mounts that show a part of the image.
	OfImage []string

	// Points are to be made in the container's layer before anything is mounted, in this order.
	Points []inplace.Point
}

// New plans mount points for those mounts whose target the image lacks, without changing the image:
// it may be read-only, another user's, or shared by a thousand tasks. The deepest existing
// directory on the way to such a target is its base. A copy of the base is made under dir, with the
// target in it, and covers the base; everything else in the base is bound into the copy from below.
// A base for temporary files gets a tmpfs instead.
//
// New skips mounts below an earlier mount: their targets exist, or are made, there.
func New(b *bundle.Bundle, dir string, o Options) (Plan, error) {
	root, err := os.OpenFile(b.RootDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Plan{}, fmt.Errorf("open rootfs: %w", err)
	}
	defer root.Close()
	s := scaffold{
		places: places{b.RootDir(), root, map[string]location{}}, view: newView(root),
		rootfs: b.Rootfs, dir: dir, Options: o, readonly: b.Spec.Root.Readonly,
	}
	s.Edit.From = "mount points"
	if err := s.find(b.Spec.Mounts, b.Exact); err != nil {
		return Plan{}, err
	}
	if b.Spec.Process != nil {
		if err := s.findCwd(b.Spec.Process.Cwd); err != nil {
			return Plan{}, err
		}
	}
	if err := s.findLinks(b.Links); err != nil {
		return Plan{}, err
	}
	if o.Layer {
		s.points()
		return s.Plan, nil
	}
	bases := s.bases()
	for _, base := range bases {
		s.mounted[base] = true
	}
	for _, base := range bases {
		if err := s.cover(root, base); err != nil {
			return Plan{}, fmt.Errorf("make mount points in %s without writing to the image: %w", base, err)
		}
	}
	return s.Plan, nil
}

// scaffold is the work of New.
type scaffold struct {
	Options
	places
	view     *view  // with all mounts
	rootfs   string // the image, as the sources of mounts name it
	dir      string
	readonly bool
	targets  []target        // all mounts, in order
	mounted  map[string]bool // their paths, and in the end also those of covers
	covers   int             // number made so far
	Plan
}

// A target is where a mount goes: a clean path within the rootfs, in which the links of the image
// are resolved.
type target struct {
	path string
	file bool   // a file, otherwise a directory
	link string // a link with this target, instead of a mount
	// instead is what the image has at the path, or on the way to it, and is left out.
	instead string
	base    string // if it is missing: the directory to cover
}

// find finds the target of every mount, and the base of those that the rootfs lacks.
func (s *scaffold) find(mounts []specs.Mount, exact []string) error {
	s.mounted = map[string]bool{}
	mounts = slices.Clone(mounts)
	for _, m := range mounts {
		s.view.over[filepath.Clean("/"+m.Destination)] = m
	}
	so := newView(s.root)
	for i, m := range mounts {
		clean := filepath.Clean("/" + m.Destination)
		if i > 0 {
			s.view.earlier[filepath.Clean("/"+mounts[i-1].Destination)] = true
		}
		switch above := s.goneAbove(clean); {
		case s.mounted[clean]: // over another mount
			so.mount(clean, m)
			continue
		case slices.Contains(exact, clean):
			t := s.exactly(m, clean)
			s.targets = append(s.targets, t)
			s.mounted[clean], s.mounted[t.path] = true, true
			if t.base != "" || !s.below(clean) {
				so.mount(clean, m)
				so.mount(t.path, m)
				s.view.earlier[t.path] = true
				continue
			}
		case above != "":
			s.targets = append(s.targets, target{path: clean, file: isFile(m), base: filepath.Dir(above)})
			s.mounted[clean] = true
			so.mount(clean, m)
			continue
		}
		if s.ByPath || s.below(clean) {
			if err := s.checkMadeOnHost(m, so); err != nil {
				return err
			}
		}
		so.mount(clean, m)
		if s.mounted[clean] {
			continue
		}
		if !strings.Contains(m.Destination, "..") && s.below(clean) {
			// What is mounted above decides where it leads.
			s.mounted[clean] = true
			continue
		}
		path, dir, err := s.of(m.Destination)
		if err != nil {
			return fmt.Errorf("resolve mount target %s: %w", m.Destination, err)
		}
		if path == "/" {
			return fmt.Errorf("mount %s at %s: a link of the image leads to the root of the container", bundle.NameOf(m), m.Destination)
		}
		t := target{path: path, file: isFile(m)}
		switch {
		case s.below(path):
		case dir.missing():
			t.base = dir.deepest
		case !exists(s.root, path):
			t.base = deepest(s.root, filepath.Dir(path))
		}
		s.targets = append(s.targets, t)
		if strings.Contains(m.Destination, "..") {
			mounts[i].Destination = path // what precedes the dots need not exist
			s.Edit.MountsAt = append(s.Edit.MountsAt, bundle.MountsAt{Index: i, Replaced: 1, Mounts: mounts[i : i+1]})
		}
		s.mounted[path] = true
		so.mount(path, m)
		s.view.over[path] = m
		s.view.earlier[path] = true
	}
	return nil
}

// findLinks does the same for injected links, which always need a cover. It skips links below a
// mount, which are not in the image: see Injected.
func (s *scaffold) findLinks(links []bundle.Link) error {
	for _, l := range links {
		dir, err := s.places.dir(filepath.Dir(l.Path))
		if err != nil {
			return fmt.Errorf("resolve place of link %s: %w", l.Path, err)
		}
		path := filepath.Join(dir.path, filepath.Base(l.Path))
		if s.below(path) || s.mounted[path] {
			continue
		}
		s.targets = append(s.targets, target{path: path, link: l.Target, base: dir.deepest})
	}
	return nil
}

// deepest returns the last directory on the way to dir that exists in the rootfs.
func deepest(root *os.File, dir string) string {
	for dir != "/" && !exists(root, dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// below reports whether the path lies below the target of a mount found so far.
func (s *scaffold) below(path string) bool {
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		if s.mounted[dir] {
			return true
		}
	}
	return false
}

// bases lists the directories to cover, each once, parents first: either none, or the root and
// others.
func (s *scaffold) bases() []string {
	var bases []string
	for _, t := range s.targets {
		if t.base != "" {
			bases = append(bases, t.base)
		}
	}
	if s.ByPath && (len(bases) > 0 || !utf8.ValidString(s.rootfs)) {
		bases = append(bases, "/")
	}
	slices.Sort(bases)
	return slices.Compact(bases)
}

// exists reports whether the path leads to something inside the rootfs.
func exists(root *os.File, path string) bool {
	fd, err := inplace.OpenIn(int(root.Fd()), path)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// isFile reports whether the mount puts a file at its target.
func isFile(m specs.Mount) bool {
	if !bundle.IsBind(m) {
		return false
	}
	info, err := os.Stat(m.Source)
	return err == nil && !info.IsDir()
}
