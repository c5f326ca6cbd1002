package source

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// refName is the annotation that holds the tag of an image in a layout.
const refName = "org.opencontainers.image.ref.name"

// fromLayout reads an image of a layout (image-spec, image-layout.md): the one with the tag or
// digest, or without these the only one.
func fromLayout(ctx context.Context, f files, r image.Reference, platform image.Platform) (*Source, error) {
	data, err := read(f, "oci-layout")
	if err != nil {
		return nil, err
	}
	var mark struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(data, &mark); err != nil || !strings.HasPrefix(mark.Version, "1.") {
		return nil, fmt.Errorf("%w: oci-layout is not of version 1", ErrUnsupported)
	}
	if data, err = read(f, "index.json"); err != nil {
		return nil, err
	}
	index, err := readDocument(data)
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if index.Manifests == nil {
		return nil, fmt.Errorf("%w: index.json is not an index", ErrMalformed)
	}
	c := blobs{files: f, name: inLayout}
	list, err := pick(*index.Manifests, r)
	if nested, found := within(f, r); err != nil && found {
		list, err = nested, nil
	}
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		return assemble(ctx, c, list[0], platform)
	}
	// The list may have several manifests without names, one for each platform.
	chooser := chooser{content: c, platform: platform.Normal()}
	chosen, err := chooser.choose(ctx, list, 1)
	if err != nil {
		return nil, err
	}
	return assemble(ctx, c, chosen.descriptor, platform)
}

// within finds a manifest by its digest among all blobs: index.json may list only an index of it.
func within(f files, r image.Reference) ([]v1.Descriptor, bool) {
	digest, err := v1.NewHash(string(r.Digest))
	if err != nil {
		return nil, false
	}
	blob, size, err := f.open(inLayout(digest))
	if err != nil {
		return nil, false
	}
	blob.Close() //nolint:errcheck // only looked at
	return []v1.Descriptor{{Digest: digest, Size: size}}, true
}

// pick returns the manifests that a tag or digest names.
func pick(list []v1.Descriptor, r image.Reference) ([]v1.Descriptor, error) {
	var names []string
	var found []v1.Descriptor
	for _, d := range list {
		name := d.Annotations[refName]
		if name != "" && !slices.Contains(names, text.Printable(name)) {
			names = append(names, text.Printable(name))
		}
		switch {
		case r.Digest != "" && d.Digest.String() != string(r.Digest), r.Digest == "" && r.Tag != "" && name != r.Tag:
		default:
			found = append(found, d)
		}
	}
	const most = 20
	if len(names) > most {
		names = append(names[:most], "...")
	}
	switch {
	case len(found) == 0 && (r.Tag != "" || r.Digest != ""):
		return nil, fmt.Errorf("%w %s; there is %s", registryNotFound, text.Printable(cmp.Or(string(r.Digest), r.Tag)), orNone(names))
	case len(found) == 0:
		return nil, fmt.Errorf("%w in it", registryNotFound)
	case r.Tag == "" && r.Digest == "" && len(names) > 1:
		return nil, fmt.Errorf("%w: several images: %s; name one as oci:DIR:TAG", ErrAmbiguous, strings.Join(names, ", "))
	}
	return found, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none with a name"
	}
	return strings.Join(names, ", ")
}

// fromDirectory reads what skopeo writes to dir:.
func fromDirectory(ctx context.Context, f files, platform image.Platform) (*Source, error) {
	data, err := read(f, "manifest.json")
	if err != nil {
		return nil, err
	}
	digest, _, err := sum(data)
	if err != nil {
		return nil, err
	}
	d := v1.Descriptor{Digest: digest, Size: int64(len(data))}
	return assemble(ctx, skopeoDirectory{blobs{files: f, name: inDirectory}, d, data}, d, platform)
}

// A skopeoDirectory holds the root manifest, whose file is named differently from the others.
type skopeoDirectory struct {
	blobs
	root v1.Descriptor
	data []byte
}

func (s skopeoDirectory) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Digest == s.root.Digest {
		return s.data, nil
	}
	// The manifests of an index are files called HEX.manifest.json.
	s.name = func(h v1.Hash) string { return h.Hex + ".manifest.json" }
	return s.blobs.document(ctx, d)
}
