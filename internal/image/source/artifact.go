package source

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// A Stored file is an artifact of a registry that is one file.
type Stored struct {
	// Digest is the digest of the artifact's manifest. File is the file itself; it is not a
	// layer and has no DiffID.
	Digest image.Digest
	File   Layer

	Reference string
	Private   bool
}

// OpenSIF opens the SIF file that an oras:// reference names, as `apptainer push` writes it: a
// manifest with one layer of type application/vnd.sylabs.sif.layer.v1.sif.
func OpenSIF(ctx context.Context, r image.Reference, o Options) (*Stored, error) {
	s, err := openSIF(ctx, r, o)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", text.Printable(r.Familiar()), err)
	}
	return s, nil
}

func openSIF(ctx context.Context, r image.Reference, o Options) (*Stored, error) {
	repository, err := o.Registry.Resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	data, err := remote{repository, o.Kept}.manifest(ctx, repository.Descriptor)
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Layers []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("%w: its manifest cannot be parsed", ErrMalformed)
	}
	if len(manifest.Layers) != 1 || !strings.HasPrefix(string(manifest.Layers[0].MediaType), "application/vnd.sylabs.sif.layer.") {
		return nil, fmt.Errorf("%w: not a SIF file of Apptainer: use docker://, not oras://", ErrUnsupported)
	}
	file := manifest.Layers[0]
	if file.Size < 0 || file.Size > maxLayer {
		return nil, fmt.Errorf("%w: a size of %d bytes", ErrMalformed, file.Size)
	}
	return &Stored{
		Digest: image.Digest(repository.Descriptor.Digest.String()), Reference: repository.Reference.String(),
		Private: repository.Private(ctx, repository.Descriptor.Digest),
		File: Layer{
			Digest: image.Digest(file.Digest.String()), Size: file.Size, MediaType: string(file.MediaType),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return repository.Blob(ctx, file) },
		},
	}, nil
}
