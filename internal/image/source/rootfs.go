package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/archive"
)

// fromRootFS makes an image with one layer from a directory. The directory is read once for the
// digest and again for the layer; it is an error if it changes in between.
func fromRootFS(ctx context.Context, path string, platform image.Platform) (*Source, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	write := func(ctx context.Context, w io.Writer) error { return archive.Directory(ctx, w, root) }
	sum := &counted{sum: sha256.New()}
	if err := write(ctx, sum); err != nil {
		root.Close() //nolint:errcheck // only read from
		return nil, err
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sum.sum.Sum(nil))}
	s, err := ofLayer(v1.Descriptor{MediaType: types.OCIUncompressedLayer, Size: sum.size, Digest: digest}, platform)
	if err != nil {
		root.Close() //nolint:errcheck // only read from
		return nil, err
	}
	s.Layers[0].Open = func(ctx context.Context) (io.ReadCloser, error) { return archive.Stream(ctx, write), nil }
	s.close = root.Close
	return s, nil
}

// ofLayer makes the manifest and configuration of an image with one layer and no settings.
func ofLayer(layer v1.Descriptor, platform image.Platform) (*Source, error) {
	diffID := image.Digest(layer.Digest.String())
	says := configuration{Architecture: platform.Architecture, OS: platform.OS, Variant: platform.Variant}
	says.RootFS.Type, says.RootFS.DiffIDs = "layers", []image.Digest{diffID}
	s := &Source{Platform: platform}
	var err error
	if s.RawConfig, err = json.Marshal(says); err != nil {
		return nil, err
	}
	digest, size, err := sum(s.RawConfig)
	if err != nil {
		return nil, err
	}
	s.RawManifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: size, Digest: digest},
		Layers: []v1.Descriptor{layer},
	})
	if err != nil {
		return nil, err
	}
	whole, _, err := sum(s.RawManifest)
	s.Digest = image.Digest(whole.String())
	s.Layers = []Layer{{Digest: diffID, DiffID: diffID, Size: layer.Size, MediaType: string(layer.MediaType)}}
	return s, err
}
