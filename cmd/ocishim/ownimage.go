package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/request"
)

// changes returns who wants to change the image's files; a choice without a source is a site's.
func changes(cfg *config.Config, r request.Request) request.Choice {
	c := plan.Writable(cfg, r)
	switch {
	case c.Value == request.WritableNot:
		return request.Choice{}
	case r.Writable.Value == "":
		c.By = ""
	}
	return c
}

// preferOwn returns an image in a form in which the user owns its files, if they are to be changed:
// overlayfs copies a file that is changed together with its owner, which an ordinary user cannot do.
// Without such a form, a site's default has no effect, and a user's wish imports one.
func (f *imageFinder) preferOwn(found *image.Image, stores image.Stores) (*image.Image, error) {
	if f.changed.Value == "" || found.Owned() {
		return found, nil
	}
	formats := []image.Format{image.Squashfs, image.Tree}
	if f.tree {
		formats = formats[1:]
	}
	for _, store := range stores {
		own, _, err := image.Stores{store}.Find(found.Digest, formats...)
		if err == nil && own.Owned() {
			return own, found.Close()
		}
		if err == nil {
			_ = own.Close()
		}
	}
	if f.changed.By == "" {
		return found, nil
	}
	_ = found.Close()
	return nil, fmt.Errorf("find image %s with files of uid %d, for %s: %w", found.Digest, os.Geteuid(), f.changed.By, image.ErrNotFound)
}

// errNotOwn says that --pull=never was given, and no store has the image in a form that the user
// could change.
var errNotOwn = errors.New("no store has it as a file, or as a directory of yours, which a writable image needs, and it is not to be pulled")

// notHere is the error for an image that would have to be pulled, and must not be.
func (f *imageFinder) notHere() error {
	if f.changed.By != "" {
		return errNotOwn
	}
	return errNotHere
}

// pullConfig is the configuration by which images are imported. What only a store of the site's has
// is imported into the user's if its files are to be changed.
func (f *imageFinder) pullConfig() *config.Config {
	if f.changed.By == "" {
		return f.config
	}
	own := *f.config
	own.Image.Stores = nil
	return &own
}
