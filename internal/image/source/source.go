// Package source opens an image where its reference says it is: in a registry, a directory, an
// archive or another engine's store. It gives all of them one form: the verified manifest and
// configuration for a platform, and the layers, which are opened one by one. It unpacks
// nothing.
//
// Everything it reads is untrusted: sizes and counts are bounded, digests are verified, and
// names from an image are only resolved below an os.Root.
package source

import (
	"context"
	"io"

	"github.com/ocishim/ocishim/internal/image"
)

// A Source is an image for one platform, open at its place of origin.
type Source struct {
	// Digest is the digest of RawManifest. An image without a manifest, such as one of docker
	// save, gets one that is made from what it has.
	Digest image.Digest

	// Reference is the name that the image was found by, in its normal form.
	Reference string

	Platform image.Platform
	Config   image.Config

	// Layers are the layers of the image, the lowest first.
	Layers []Layer

	// Packed opens the root file system of an image that already is a squashfs; otherwise it
	// is nil. Such an image has no RawManifest and RawConfig, and its only layer is made from
	// the squashfs while it is read.
	Packed func(context.Context) (*Packed, error)

	// Private says that the image cannot be read without credentials.
	Private bool

	// RawManifest and RawConfig are the manifest and the configuration, byte for byte.
	RawManifest, RawConfig []byte

	size  int64 // of the packed root file system
	close func() error
}

// Close closes the image: its layers cannot be opened any more.
func (s *Source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// OnClose sets the function that Close calls.
func (s *Source) OnClose(end func() error) { s.close = end }

// Size returns how many bytes of the image have to be read, as far as that is known.
func (s *Source) Size() int64 {
	total := s.size
	for _, layer := range s.Layers {
		total += max(layer.Size, 0)
	}
	return total
}

// A Layer is a tar archive as it is transported, maybe compressed. Find out the compression from
// its first bytes: MediaType may be wrong.
type Layer struct {
	// Digest is the digest of the bytes that Open gives. It is empty if it is not known: a
	// layer of docker save has only a DiffID.
	Digest image.Digest

	// DiffID is the digest of the decompressed archive, from the configuration. The caller
	// verifies it when decompressing the layer.
	DiffID image.Digest

	// Size is how many bytes Open gives, or -1 if it is not known.
	Size int64

	// MediaType is what the manifest says.
	MediaType string

	// Open begins to read the layer from its start. Several readers may be open at once,
	// even of the same layer. The reader fails at its end if the bytes do not match Digest
	// and Size: discard what was made of them until then. Reading also ends with the context.
	Open func(ctx context.Context) (io.ReadCloser, error)
}
