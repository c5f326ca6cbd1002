package runtime

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/mountpoints"
	"github.com/ocishim/ocishim/runtime/scratch"
)

// ErrNoLayer says that a container was to have a layer for changes, and has another launcher than
// the one that makes layers.
var ErrNoLayer = errors.New("an image can be writable only without a supervisor")

// withoutLayer drops the layer of a container that libcontainer launches, or refuses to if the user
// asked for it.
func (l *launch) withoutLayer() error {
	layer := l.b.Layer
	if layer == nil {
		return nil
	}
	if layer.Optional {
		l.b.Layer = nil
		return nil
	}
	why := WhyNotInPlace(l.b, l.o)
	if why == "" {
		why = "it is created first and started later"
	}
	return fmt.Errorf("launch container %q: %s: %w, and this container has one: %s", l.b.ID, layer.By, ErrNoLayer, why)
}

// makeLayer makes the layer's directory, if it has one, and plans what the layer must have.
func (l *launch) makeLayer() (*inplace.Layer, error) {
	plan, err := mountpoints.New(l.b, "", mountpoints.Options{Strict: true, Layer: true})
	if err != nil {
		return nil, err
	}
	if err := amend(l.b, plan.Edit); err != nil {
		return nil, err
	}
	layer := &inplace.Layer{Size: l.b.Layer.Size, By: l.b.Layer.By, Points: plan.Points}
	if l.b.Layer.Dir == "" {
		return layer, nil
	}
	if l.o.Layer != "" {
		layer.Dir, layer.Hidden = l.o.Layer, filepath.Dir(l.o.Layer)
		if err := scratch.Adopt(layer.Dir); err != nil {
			return nil, fmt.Errorf("%s: %w", l.b.Layer.By, err)
		}
		return layer, nil
	}
	if layer.Dir, err = scratch.Make(l.b.Layer.Dir, l.c.Launcher); err != nil {
		return nil, fmt.Errorf("%s: %w", l.b.Layer.By, err)
	}
	layer.Gone, layer.Hidden, l.c.Layer = scratch.GoneName(layer.Dir), filepath.Dir(layer.Dir), layer.Dir
	return layer, nil
}

// discardLayer removes the layer of a launch that failed.
func (l *launch) discardLayer() {
	if l.c.Layer != "" {
		scratch.Discard(l.c.Layer)
	}
}

// leaveLayer removes the layer of a container that is over.
func (c *Container) leaveLayer() {
	if c.Layer != "" {
		scratch.Remove(c.Layer)
	}
}
