package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrAmbiguous says that a file has several images, and the reference does not name one of them.
var ErrAmbiguous = errors.New("ambiguous reference")

// registryNotFound is the error for a missing image, wherever it is looked for.
var registryNotFound = registry.ErrNotFound

// Options say how to open an image.
type Options struct {
	// Platform is the platform to choose; the zero value means the host's.
	Platform image.Platform

	// Registry is the client for registries. Only references to registries need it.
	Registry *registry.Client

	// Environment is the user's environment, for Docker and Podman on this host.
	Environment credentials.Environment

	// TempDir is for decompressed archives, and for what Docker and Podman save. The files
	// there have no names. The zero value means /var/tmp.
	TempDir string

	// Kept returns a manifest or configuration that a store already has, or nil. Open
	// verifies it, and saves a request. Kept itself may be nil.
	Kept func(image.Digest) []byte
}

// Open reads an image's manifest and configuration. The caller closes the Source when its
// layers have been read.
func Open(ctx context.Context, r image.Reference, o Options) (*Source, error) {
	if o.Platform == (image.Platform{}) {
		o.Platform = image.HostPlatform()
	}
	s, err := open(ctx, r, o)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", text.Printable(r.Familiar()), err)
	}
	return s, nil
}

func open(ctx context.Context, r image.Reference, o Options) (*Source, error) {
	switch r.Kind {
	case image.KindRegistry:
		return fromRegistry(ctx, r, o)
	case image.KindLayout, image.KindDirectory:
		d, err := openDirectory(r.Path)
		if err != nil {
			return nil, withoutPath(err)
		}
		return fromFiles(ctx, d, r, o)
	case image.KindOCIArchive, image.KindDockerArchive, image.KindArchive:
		t, err := openTar(ctx, r.Path, o.TempDir)
		if err != nil {
			return nil, withoutPath(err)
		}
		return fromFiles(ctx, t, r, o)
	case image.KindDockerDaemon, image.KindContainersStorage:
		t, err := fromEngine(ctx, r, o)
		if err != nil {
			return nil, err
		}
		return fromFiles(ctx, t, r, o)
	case image.KindRootFS:
		s, err := fromRootFS(ctx, r.Path, o.Platform)
		if err != nil {
			return nil, err
		}
		s.Reference = r.String()
		return s, nil
	case image.KindSquashfs, image.KindSIF:
		return fromPacked(ctx, r, o)
	case image.KindORAS:
		return fromORAS(ctx, r, o)
	}
	return nil, fmt.Errorf("%w: %s cannot be imported", ErrUnsupported, r.Kind)
}

// fromFiles reads an image from files. The Source takes over the files and closes them.
func fromFiles(ctx context.Context, f files, r image.Reference, o Options) (*Source, error) {
	if r.Kind == image.KindArchive {
		var err error
		if r.Kind, err = archiveKind(f); err != nil {
			f.Close() //nolint:errcheck // only read from
			return nil, err
		}
		if r.Kind == image.KindOCIArchive {
			r.Tag, r.Name = r.Name, ""
		}
	}
	var s *Source
	var err error
	switch r.Kind {
	case image.KindLayout, image.KindOCIArchive:
		s, err = fromLayout(ctx, f, r, o.Platform)
	case image.KindDirectory:
		s, err = fromDirectory(ctx, f, o.Platform)
	case image.KindDockerArchive:
		s, err = fromDockerArchive(ctx, f, r.Name, o.Platform)
	default: // an archive that an engine saved has one image
		s, err = fromDockerArchive(ctx, f, "", o.Platform)
	}
	if err != nil {
		f.Close() //nolint:errcheck // only read from
		return nil, withoutPath(err)
	}
	s.Reference, s.close = r.String(), f.Close
	return s, nil
}

// archiveKind returns the kind of an archive. Docker writes the files of both kinds; image-spec's
// are preferred.
func archiveKind(f files) (image.Kind, error) {
	for _, mark := range []struct {
		file string
		kind image.Kind
	}{{"oci-layout", image.KindOCIArchive}, {"manifest.json", image.KindDockerArchive}} {
		r, _, err := f.open(mark.file)
		if err == nil {
			return mark.kind, r.Close()
		}
		if !absent(err) {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: a tar archive without oci-layout or manifest.json", image.ErrNoImage)
}

// withoutPath drops the path from an error, since the message names the reference.
func withoutPath(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

func sum(data []byte) (v1.Hash, int64, error) { return v1.SHA256(bytes.NewReader(data)) }

// fromRegistry reads an image of a registry.
func fromRegistry(ctx context.Context, r image.Reference, o Options) (*Source, error) {
	repository, err := o.Registry.Resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	s, err := assemble(ctx, remote{repository, o.Kept}, repository.Descriptor, o.Platform)
	if err != nil {
		return nil, err
	}
	digest, err := v1.NewHash(string(s.Digest))
	if err != nil {
		return nil, err
	}
	s.Reference, s.Private = repository.Reference.String(), repository.Private(ctx, digest)
	return s, nil
}

// A remote is the content of a registry, and the part of it that a store already has.
type remote struct {
	repository *registry.Repository
	kept       func(image.Digest) []byte
}

func (r remote) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if data := r.fromStore(d); data != nil {
		return data, nil
	}
	data, _, err := r.repository.Manifest(ctx, d)
	return data, err
}

func (r remote) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if data := r.fromStore(d); data != nil {
		return data, nil
	}
	return r.repository.Document(ctx, d)
}

// fromStore returns a document that a store has, if it matches the digest; otherwise nil.
func (r remote) fromStore(d v1.Descriptor) []byte {
	if r.kept == nil {
		return nil
	}
	data := r.kept(image.Digest(d.Digest.String()))
	if digest, _, err := sum(data); data == nil || err != nil || digest != d.Digest {
		return nil
	}
	return data
}

func (r remote) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	b, err := r.repository.Blob(ctx, d)
	if errors.Is(err, registry.ErrNotFound) && foreign(d) {
		return nil, fmt.Errorf("%w: %s is a foreign layer, and the registry does not have it: %w", ErrUnsupported, d.Digest, err)
	}
	return b, err
}
