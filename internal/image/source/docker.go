package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// A saved image is an entry in the manifest.json of docker save.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// fromDockerArchive reads an image that docker save wrote: the one with the name, or without a
// name the only one.
func fromDockerArchive(ctx context.Context, f files, name string, platform image.Platform) (*Source, error) {
	data, err := read(f, "manifest.json")
	if err != nil {
		return nil, err
	}
	var list []saved
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%w: manifest.json was not written by docker save", ErrMalformed)
	}
	entry, err := pickSaved(list, name)
	if err != nil {
		return nil, err
	}
	config, err := read(f, entry.Config)
	if err != nil {
		return nil, err
	}
	digest, size, err := sum(config)
	if err != nil {
		return nil, err
	}
	if named, is := hexOf(entry.Config); is && named != digest {
		return nil, fmt.Errorf("read %s: %w: its content has %s", text.Printable(entry.Config), ErrDigest, digest)
	}
	s := &Source{RawConfig: config}
	diffIDs, err := s.readConfig(platform)
	if err != nil {
		return nil, err
	}
	if len(diffIDs) != len(entry.Layers) || len(diffIDs) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers in its manifest, and %d in its configuration, at most %d", ErrMalformed, len(entry.Layers), len(diffIDs), maxLayers)
	}
	manifest := v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Size: size, Digest: digest},
	}
	for i, file := range entry.Layers {
		layer, err := describe(ctx, f, file, diffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		manifest.Layers = append(manifest.Layers, layer)
		b := blobs{files: f, name: func(v1.Hash) string { return file }}
		s.Layers = append(s.Layers, Layer{
			Digest: image.Digest(layer.Digest.String()), DiffID: diffIDs[i], Size: layer.Size, MediaType: string(layer.MediaType),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return b.blob(ctx, layer) },
		})
	}
	if s.RawManifest, err = json.Marshal(manifest); err != nil {
		return nil, err
	}
	root, _, err := sum(s.RawManifest)
	s.Digest = image.Digest(root.String())
	return s, err
}

// pickSaved finds an image by its name, in any spelling, or by its id.
func pickSaved(list []saved, name string) (saved, error) {
	var names []string
	for _, entry := range list {
		for _, tag := range entry.RepoTags {
			names = append(names, text.Printable(tag))
			if name != "" && familiar(tag) == familiar(name) {
				return entry, nil
			}
		}
		if id, is := hexOf(entry.Config); is && len(name) >= 12 && strings.HasPrefix(id.Hex, strings.TrimPrefix(name, "sha256:")) {
			return entry, nil
		}
	}
	switch {
	case len(list) == 0:
		return saved{}, fmt.Errorf("%w in it", registryNotFound)
	case name != "":
		return saved{}, fmt.Errorf("%w %s; there is %s", registryNotFound, text.Printable(name), orNone(names))
	case len(list) > 1:
		slices.Sort(names)
		return saved{}, fmt.Errorf("%w: several images: %s; name one as docker-archive:FILE:NAME", ErrAmbiguous, orNone(names))
	}
	return list[0], nil
}

// familiar returns one spelling for all spellings of a name.
func familiar(name string) string {
	r, err := image.ParseReference("docker://"+name, image.Rules{})
	if err != nil {
		return name
	}
	return r.Familiar()
}

// describe makes the descriptor of a layer. The digest of an uncompressed layer is its DiffID;
// a compressed layer has to be read for its digest.
func describe(ctx context.Context, f files, name string, diffID image.Digest) (v1.Descriptor, error) {
	r, size, err := f.open(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close() //nolint:errcheck // only read from
	digest, err := v1.NewHash(string(diffID))
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: size, Digest: digest}
	head := make([]byte, 6)
	n, err := io.ReadFull(r, head)
	if n == 0 {
		return d, err
	}
	if compression(head[:n]) == "" {
		return d, nil
	}
	sum := sha256.New()
	sum.Write(head[:n])
	if _, err := io.Copy(sum, &cancelled{r, ctx}); err != nil {
		return d, err
	}
	d.MediaType, d.Digest = types.DockerLayer, v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sum.Sum(nil))}
	return d, nil
}
