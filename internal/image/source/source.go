// Package source is where images come from.
package source

import (
	"context"
	"io"

	"github.com/ocishim/ocishim/internal/image"
)

// A Source is an image as it was found: its configuration, and layers to be read.
type Source struct {
	Digest      image.Digest // of the manifest
	Reference   string
	Platform    image.Platform
	Config      image.Config
	Layers      []Layer // the lowest one first
	Private     bool    // credentials were needed
	RawManifest []byte
	RawConfig   []byte
}

// A Layer is one of an image's archives as it is transported: maybe compressed.
type Layer struct {
	Digest, DiffID image.Digest
	Size           int64
	MediaType      string
	Open           func(ctx context.Context) (io.ReadCloser, error)
}
