package plan

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/request"
)

// ErrNotWritable says that a container cannot have what was asked for: an image whose files can be
// changed.
var ErrNotWritable = errors.New("the image's files cannot be changed here")

// defaultLayer is how much of the memory one task's changes of an image take at most.
const defaultLayer = "12%"

// Writable returns where changes of an image go, and who says so: the user, or else the site.
func Writable(cfg *config.Config, r request.Request) request.Choice {
	if r.Writable.Value != "" {
		return r.Writable
	}
	const key = "image.writable"
	return request.Choice{Value: cfg.Image.Writable, By: key + " (" + cfg.Origin(key).String() + ")"}
}

// checkWritable refuses what a user asks for and the container's launcher or bundle cannot give.
func (p *composition) checkWritable(profile request.Choice) error {
	w := p.request.Writable
	switch {
	case w.Value == "" || w.Value == request.WritableNot:
		return nil
	case p.scene.Stored == nil:
		return fmt.Errorf("%s %s: %w: this is a bundle, and only images by name can be writable", w.By, w.Value, ErrNotWritable)
	case !p.InPlace:
		return fmt.Errorf("%s %s: %w: only in the profile hpc, in a task that run or run-image starts, and this is the profile %s (%s)",
			w.By, w.Value, ErrNotWritable, profile.Value, profile.By)
	}
	return nil
}

// layer gives an image a layer for changes.
func (p *composition) layer() error {
	w := Writable(p.scene.Config, p.request)
	if w.Value == request.WritableNot || !p.InPlace {
		return nil
	}
	if p.request.Writable.Value == "" && !p.scene.Stored.Owned() {
		if rank, _ := bundle.Getenv(p.env(), "SLURM_PROCID"); rank != "" && rank != "0" {
			return nil // the first task says it
		}
		p.warn("the image stays read-only, since its files belong to another user: --writable makes a copy")
		return nil
	}
	l := &bundle.Layer{By: w.By, Optional: p.request.Writable.Value == ""}
	mode, size, _ := strings.Cut(w.Value, ":")
	switch {
	case mode == request.WritableDisk && p.scene.Scratch == "":
		return fmt.Errorf("%s %s: %w: image.scratch names no directory for this user", w.By, w.Value, ErrNotWritable)
	case mode == request.WritableDisk:
		l.Dir = p.scene.Scratch
	case size == "":
		l.Size = defaultLayer
	default:
		l.Size = size
	}
	return p.apply(bundle.Edit{From: "writable", Rule: w.By, Layer: l})
}
