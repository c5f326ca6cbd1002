// Package layers merges an image's layers into one root file system. Layers are archives whose
// members and whiteouts hide what lies in the layers below them (image-spec, layer.md).
//
// Layers are read from the top one down. Each file is written when it is met, unless an upper
// layer hides it. So every layer is read once, nothing is stored beside the result, and no file is
// written only to be removed again. While a layer is read, the list of its members is kept. Then
// the lists are merged in memory from the lowest layer up. This merge is exact, also for paths
// through links and for files that occur twice. Its result, the plan, is compared with what was
// written. For most images they are the same. If files are missing, the layers that have them are
// read again; if a file was written that should not be there, everything is written again by the
// plan.
//
// Links, devices and directories are written at the end, so that no link is in the way when a file
// is written: no file can be written outside of the root file system.
package layers

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/text"
)

// A Writer writes a root file system. It is called in this order: for files, whose directories may
// not exist yet; then for hard links to them, symbolic links, devices and fifos; then for
// directories, the deepest first.
type Writer interface {
	// Begin discards what was written before.
	Begin() error
	File(m Member, content io.Reader) error
	// Link makes another name for a file.
	Link(path, file string) error
	// Other makes a member without content.
	Other(m Member) error
	Directory(m Member) error
}

// A Result describes the root file system of an image.
type Result struct {
	Members int64            // in the root file system
	Lost    map[string]int64 // how many members lost something, by what they lost
	Reads   int              // reads of layers; an odd image needs more than it has layers
}

// Flatten writes the root file system of layers, which are listed from the lowest. The root
// directory itself has mode 0755 and belongs to root, whatever the layers say: a tar stream to
// mksquashfs cannot set that. Flatten calls count for every piece of a layer that it reads.
func Flatten(ctx context.Context, layers []source.Layer, limits Limits, w Writer, count func(bytes int)) (*Result, error) {
	if len(layers) > limits.Layers {
		return nil, fmt.Errorf("%w: %d layers", ErrTooMuch, len(layers))
	}
	f := &flattening{
		layers: layers, limits: limits, w: w, count: count,
		lists: make([][]listed, len(layers)), paths: written{}, done: map[place]string{},
		result: &Result{Lost: map[string]int64{}},
	}
	if err := f.run(ctx); err != nil {
		return nil, err
	}
	return f.result, nil
}

type flattening struct {
	layers []source.Layer
	limits Limits
	w      Writer
	count  func(int)

	lists  [][]listed
	paths  written
	done   map[place]string // the files that were written, and their paths
	result *Result
}

func (f *flattening) run(ctx context.Context) error {
	if err := f.w.Begin(); err != nil {
		return err
	}
	over, sum := new(veil), &tally{limits: f.limits}
	for i := range slices.Backward(f.layers) {
		if err := f.first(ctx, i, over, sum); err != nil {
			return err
		}
		over.draw(f.lists[i])
	}
	r := newResolver(f.limits)
	for i, list := range f.lists {
		if err := r.apply(i, list); err != nil {
			return fmt.Errorf("layer %s: %w", f.layers[i].Digest, err)
		}
		f.lists[i] = nil
	}
	p, err := r.plan()
	if err != nil {
		return err
	}
	wanted, clean := f.compare(p)
	if !clean {
		f.done = map[place]string{}
		if err := f.w.Begin(); err != nil {
			return err
		}
		wanted, _ = f.compare(p)
	}
	if err := f.again(ctx, wanted); err != nil {
		return err
	}
	return f.rest(p)
}

// each reads a layer and calls do for every member.
func (f *flattening) each(ctx context.Context, i int, do func(at int64, h *tar.Header, content io.Reader) error) (err error) {
	layer := f.layers[i]
	s, err := open(ctx, layer, f.limits, f.count)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f.result.Reads++
	archive := tar.NewReader(s.unpacked)
	for at := int64(0); ; at++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return s.finish(layer)
		}
		if err != nil {
			return fmt.Errorf("read layer %s: %w", layer.Digest, err)
		}
		if err := do(at, h, archive); err != nil {
			return fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
}

// first reads a layer for the first time: it keeps the list of members and writes the files that
// upper layers do not hide.
func (f *flattening) first(ctx context.Context, i int, over *veil, sum *tally) error {
	return f.each(ctx, i, func(at int64, h *tar.Header, content io.Reader) error {
		m, said, err := f.limits.parse(h, f.result.Lost)
		if err != nil || said == nothing {
			return errors.Join(err, sum.add(0))
		}
		if err := sum.add(m.Size); err != nil {
			return err
		}
		f.lists[i] = append(f.lists[i], listed{m, said, at})
		if said != noMark || m.Kind != File || over.hides(m.Path) || !f.paths.fits(m.Path) {
			return nil
		}
		f.paths.add(m.Path)
		return f.file(m, place{i, at}, content)
	})
}

func (f *flattening) file(m Member, from place, content io.Reader) error {
	if err := f.w.File(m, content); err != nil {
		return fmt.Errorf("write %s: %w", text.Printable(m.Path), err)
	}
	f.done[from] = m.Path
	return nil
}

// compare returns the files of the plan that were not written yet. It is clean if every file that
// was written is in the plan, under one of its names.
func (f *flattening) compare(p *plan) (wanted map[place]*inode, clean bool) {
	wanted = map[place]*inode{}
	right := 0
	for _, n := range p.inodes {
		if n.Kind != File {
			continue
		}
		path, there := f.done[n.place]
		if !there {
			wanted[n.place] = n
		} else if slices.Contains(n.names, path) {
			right++
		}
	}
	return wanted, right == len(f.done)
}

// again reads the layers that have wanted files, and writes these files.
func (f *flattening) again(ctx context.Context, wanted map[place]*inode) error {
	needed := make([]bool, len(f.layers))
	for from := range wanted {
		needed[from.layer] = true
	}
	for i, need := range needed {
		if !need {
			continue
		}
		err := f.each(ctx, i, func(at int64, _ *tar.Header, content io.Reader) error {
			n := wanted[place{i, at}]
			if n == nil {
				return nil
			}
			m := n.Member
			m.Path = n.names[0]
			return f.file(m, n.place, content)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rest writes all members without content: links, devices, fifos and directories.
func (f *flattening) rest(p *plan) error {
	for _, n := range p.inodes {
		f.result.Members += int64(len(n.names))
		for _, name := range n.names {
			var err error
			if first := f.done[n.place]; n.Kind != File {
				m := n.Member
				m.Path = name
				err = f.w.Other(m)
			} else if name != first {
				err = f.w.Link(name, first)
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", text.Printable(name), err)
			}
		}
	}
	f.result.Members += int64(len(p.directories))
	for _, m := range slices.Backward(p.directories) {
		if err := f.w.Directory(m); err != nil {
			return fmt.Errorf("write directory %s: %w", text.Printable(m.Path), err)
		}
	}
	return nil
}
