// Package source finds an image where its reference says that it is, a registry, a
// directory, an archive or another engine's store, and gives all of them one form: the
// manifest and the configuration for a platform, read and verified, and the layers, to be
// opened one by one. Nothing is unpacked here.
//
// All that is read is taken for hostile: sizes and counts are bounded, digests verified,
// and no name out of an image is resolved without a root.
package source

import (
	"context"
	"io"

	"github.com/ocishim/ocishim/internal/image"
)

// A Source is an image for one platform, where it lies.
type Source struct {
	// Digest is of RawManifest. An image that has no manifest of its own, such as one of
	// docker save, gets one that says the same.
	Digest image.Digest

	// Reference is by which name the image was found, in its normal form.
	Reference string

	Platform image.Platform
	Config   image.Config

	// Layers are in the order in which they are laid over each other: the lowest first.
	Layers []Layer

	// Packed opens the root file system of an image that is a squashfs already; else it is
	// nil. Such an image has no documents, and its only layer is made of the file when it
	// is read.
	Packed func(context.Context) (*Packed, error)

	// Private says that the image could not be had without credentials.
	Private bool

	// RawManifest and RawConfig are the documents, byte for byte.
	RawManifest, RawConfig []byte

	size  int64 // of what is packed
	close func() error
}

// Close ends the use of the layers.
func (s *Source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// OnClose says what ends with the use of the layers.
func (s *Source) OnClose(end func() error) { s.close = end }

// Size is how many bytes have to be read of the image, as far as it is known.
func (s *Source) Size() int64 {
	total := s.size
	for _, layer := range s.Layers {
		total += max(layer.Size, 0)
	}
	return total
}

// A Layer is a tar archive, as it is transported: maybe compressed. What it is compressed
// with is known from its first bytes, not from MediaType, which may lie.
type Layer struct {
	// Digest is of the bytes that Open gives. It is empty where nothing says it: a layer
	// of docker save has only a DiffID.
	Digest image.Digest

	// DiffID is of the archive without its compression, as the configuration says. Who
	// decompresses the layer verifies it.
	DiffID image.Digest

	// Size is how many bytes Open gives; -1 where it is not known.
	Size int64

	// MediaType is what the manifest says.
	MediaType string

	// Open begins to read the layer from its start. Several readers may be open at once,
	// even of the same layer. The reader fails at its end if the bytes do not match Digest
	// and Size: discard what was made of them until then. Reading also ends with the context.
	Open func(ctx context.Context) (io.ReadCloser, error)
}
