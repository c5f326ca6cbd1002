// Package layers makes one root file system of an image's layers: archives whose later
// members and whiteouts hide what lies below them (image-spec, layer.md).
//
// Layers are read from the top one down, and each file is written when it is met, if no
// upper layer hides it: so every layer is read once, nothing is kept beside the result, and
// no file is written that would be removed again. While it is read, each layer's list of
// members is kept, and the lists are put together in memory from the lowest one up, exactly,
// with links that lead through links, and files that come twice. What was written is then
// compared with this plan. Of most images it is the same. Where a file is missing, the
// layers that have one are read again; where one was written that should not be, all begins
// anew by the plan.
//
// Links, devices and directories are written at the end, so that no link is in the way of
// any file: none can lead out of the image.
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

// A Writer takes a root file system, in this order: files, in directories that may not have
// come yet; then hard links to them, symbolic links, devices and fifos; then directories,
// the deepest ones first.
type Writer interface {
	// Begin drops what was written before.
	Begin() error
	File(m Member, content io.Reader) error
	// Link makes another name of a file.
	Link(path, file string) error
	// Other makes anything that has no content.
	Other(m Member) error
	Directory(m Member) error
}

// A Result says what came of an image.
type Result struct {
	Members int64            // in the root file system
	Lost    map[string]int64 // what could not be kept, by how many members had it
	Reads   int              // of layers; more than there are where an image was odd
}

// Flatten writes the root file system of layers, the lowest of which comes first. The root
// itself is 0755 and root's, whatever the layers say: a stream to squashfs cannot tell.
// count is told of each piece of the layers as it is read.
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
	done   map[place]string // the files that are written, and where
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

// each calls do for every member of a layer's archive.
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

// first reads a layer for the first time: its list is kept, its files are written.
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

// compare returns the files that are not written yet. It is clean where all that are written
// are part of the plan, under one of their names.
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

// again reads the layers that have a file that is wanted.
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

// rest writes all that has no content.
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
