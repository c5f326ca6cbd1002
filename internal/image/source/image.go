package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// Reasons why an existing image cannot be used, for errors.Is.
var (
	// ErrPlatform says that there is no image for the platform.
	ErrPlatform = errors.New("not for this platform")

	// ErrUnsupported says that this kind of image or artifact is not supported.
	ErrUnsupported = errors.New("unsupported image")

	// ErrMalformed says that the image is inconsistent or exceeds a limit.
	ErrMalformed = errors.New("malformed image")
)

// Limits of an image. Docker makes at most 127 layers.
const (
	maxDocument = 8 << 20 // bytes of a manifest, index or configuration
	maxLayers   = 1000
	maxLayer    = 1 << 40 // bytes
	maxDepth    = 4       // nested indexes
	maxIndexes  = 64      // indexes and manifests that are read for one image
)

// content gives manifests and blobs, and verifies them: documents before it returns them, blobs
// at their end.
type content interface {
	manifest(ctx context.Context, d v1.Descriptor) ([]byte, error)
	document(ctx context.Context, d v1.Descriptor) ([]byte, error)
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// A document has the fields of all kinds of manifests and indexes, to tell them apart.
type document struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     types.MediaType    `json:"mediaType"`
	ArtifactType  string             `json:"artifactType"`
	Config        *v1.Descriptor     `json:"config"`
	Layers        *[]v1.Descriptor   `json:"layers"`
	Manifests     *[]v1.Descriptor   `json:"manifests"`
	FSLayers      *[]json.RawMessage `json:"fsLayers"`
}

// readDocument parses a manifest or index. It refuses a document that could be read as both
// (GHSA-mc8v-mgrf-8f4m).
func readDocument(data []byte) (document, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("%w: its manifest cannot be parsed: %s", ErrMalformed, text.Printable(err.Error()))
	}
	index := d.MediaType == types.OCIImageIndex || d.MediaType == types.DockerManifestList
	manifest := d.MediaType == types.OCIManifestSchema1 || d.MediaType == types.DockerManifestSchema2
	switch {
	case d.FSLayers != nil || d.SchemaVersion == 1:
		return d, fmt.Errorf("%w: a manifest of Docker's old schema 1; pull and push the image with a current program", ErrUnsupported)
	case d.SchemaVersion != 2:
		return d, fmt.Errorf("%w: a manifest of schema %d", ErrUnsupported, d.SchemaVersion)
	case d.MediaType != "" && !index && !manifest:
		return d, fmt.Errorf("%w: a manifest of type %s", ErrUnsupported, text.Printable(string(d.MediaType)))
	case d.Manifests != nil && (d.Layers != nil || d.Config != nil || manifest), d.Layers != nil && index:
		return d, fmt.Errorf("%w: both an index and a manifest", ErrMalformed)
	case d.Manifests == nil && d.Config == nil:
		return d, fmt.Errorf("%w: neither an index nor the manifest of an image", ErrMalformed)
	}
	return d, nil
}

// assemble reads an image from its manifest, or from an index that lists it for the platform.
func assemble(ctx context.Context, c content, root v1.Descriptor, platform image.Platform) (*Source, error) {
	data, err := c.manifest(ctx, root)
	if err != nil {
		return nil, err
	}
	d, err := readDocument(data)
	if err != nil {
		return nil, err
	}
	if d.Manifests != nil {
		chooser := chooser{content: c, platform: platform.Normal()}
		chosen, err := chooser.choose(ctx, *d.Manifests, 1)
		if err != nil {
			return nil, err
		}
		if root, data, d = chosen.descriptor, chosen.data, chosen.document; data == nil {
			if data, err = c.manifest(ctx, root); err != nil {
				return nil, err
			}
			if d, err = readDocument(data); err != nil {
				return nil, err
			}
			if d.Manifests != nil {
				return nil, fmt.Errorf("%w: an index where the index above lists a manifest", ErrMalformed)
			}
		}
	}
	return fromManifest(ctx, c, root, data, d, platform)
}

// fromManifest reads the configuration, and lists the layers.
func fromManifest(ctx context.Context, c content, root v1.Descriptor, data []byte, d document, platform image.Platform) (*Source, error) {
	if err := checkKind(d); err != nil {
		return nil, err
	}
	if d.Config.Size < 0 || d.Config.Size > maxDocument {
		return nil, fmt.Errorf("%w: a configuration of %d bytes", ErrMalformed, d.Config.Size)
	}
	raw, err := c.document(ctx, *d.Config)
	if err != nil {
		return nil, err
	}
	s := &Source{Digest: image.Digest(root.Digest.String()), RawManifest: data, RawConfig: raw}
	diffIDs, err := s.readConfig(platform)
	if err != nil {
		return nil, err
	}
	layers := []v1.Descriptor{}
	if d.Layers != nil {
		layers = *d.Layers
	}
	if len(layers) != len(diffIDs) {
		return nil, fmt.Errorf("%w: %d layers in its manifest, and %d in its configuration", ErrMalformed, len(layers), len(diffIDs))
	}
	if len(layers) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers, at most %d", ErrMalformed, len(layers), maxLayers)
	}
	for i, layer := range layers {
		if err := checkLayer(layer); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		s.Layers = append(s.Layers, Layer{
			Digest: image.Digest(layer.Digest.String()), DiffID: diffIDs[i], Size: layer.Size, MediaType: string(layer.MediaType),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return c.blob(ctx, layer) },
		})
	}
	return s, nil
}

// checkKind refuses artifacts in registries that are not images.
func checkKind(d document) error {
	switch d.Config.MediaType {
	case types.OCIConfigJSON, types.DockerConfigJSON, "":
	default:
		kind := string(d.Config.MediaType)
		if d.ArtifactType != "" {
			kind = d.ArtifactType
		}
		for _, layer := range layersOf(d) {
			if strings.HasPrefix(string(layer.MediaType), "application/vnd.sylabs.sif") {
				return fmt.Errorf("%w: a SIF file of Apptainer: use oras://, not docker://", ErrUnsupported)
			}
		}
		return fmt.Errorf("%w: an artifact of type %s, not an image", ErrUnsupported, text.Printable(kind))
	}
	if d.ArtifactType != "" && d.Config.MediaType == "" {
		return fmt.Errorf("%w: an artifact of type %s, not an image", ErrUnsupported, text.Printable(d.ArtifactType))
	}
	return nil
}

func layersOf(d document) []v1.Descriptor {
	if d.Layers == nil {
		return nil
	}
	return *d.Layers
}

// checkLayer refuses layers that cannot be unpacked. It ignores the compression in the media
// type.
func checkLayer(d v1.Descriptor) error {
	media := string(d.MediaType)
	switch {
	case strings.Contains(media, "+encrypted"):
		return fmt.Errorf("%w: it is encrypted (%s); decrypt the image with skopeo copy --decryption-key", ErrUnsupported, text.Printable(media))
	case !strings.HasPrefix(media, "application/vnd.oci.image.layer.") && !strings.HasPrefix(media, "application/vnd.docker.image.rootfs.") || !strings.Contains(media, ".tar"):
		return fmt.Errorf("%w: its type is %s", ErrUnsupported, text.Printable(media))
	case d.Digest.Algorithm != "sha256":
		return fmt.Errorf("%w: its digest is by %s", ErrUnsupported, text.Printable(d.Digest.Algorithm))
	case d.Size < 0 || d.Size > maxLayer:
		return fmt.Errorf("%w: a size of %d bytes", ErrMalformed, d.Size)
	}
	return nil
}

// foreign reports whether a layer may be missing in the registry.
func foreign(d v1.Descriptor) bool {
	return strings.Contains(string(d.MediaType), "nondistributable") || strings.Contains(string(d.MediaType), ".foreign.")
}

// A configuration is the part of image-spec's config.md that is used here.
type configuration struct {
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	Variant      string       `json:"variant"`
	Config       image.Config `json:"config"`
	RootFS       struct {
		Type    string         `json:"type"`
		DiffIDs []image.Digest `json:"diff_ids"`
	} `json:"rootfs"`
}

// readConfig sets Platform and Config from RawConfig, and returns the digests of the unpacked
// layers.
func (s *Source) readConfig(platform image.Platform) ([]image.Digest, error) {
	var c configuration
	// json.Unmarshal accepts null as an empty configuration.
	if err := json.Unmarshal(s.RawConfig, &c); err != nil || bytes.Equal(bytes.TrimSpace(s.RawConfig), []byte("null")) {
		return nil, fmt.Errorf("%w: its configuration cannot be parsed", ErrMalformed)
	}
	if c.RootFS.Type != "layers" && c.RootFS.Type != "" {
		return nil, fmt.Errorf("%w: a root file system of type %s", ErrUnsupported, text.Printable(c.RootFS.Type))
	}
	for _, id := range c.RootFS.DiffIDs {
		if !image.ValidDigest(id) {
			return nil, fmt.Errorf("%w: a layer with DiffID %s", ErrMalformed, text.Printable(string(id)))
		}
	}
	s.Config = c.Config
	s.Platform = image.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}.Normal()
	// Old builders do not set the platform.
	if s.Platform.OS == "" && s.Platform.Architecture == "" {
		s.Platform = platform.Normal()
		return c.RootFS.DiffIDs, nil
	}
	if fits(s.Platform, platform.Normal()) < 0 {
		return nil, notFor(platform, []image.Platform{s.Platform})
	}
	return c.RootFS.DiffIDs, nil
}
