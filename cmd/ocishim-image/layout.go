package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/source"
)

func hostPlatform() *v1.Platform { return &v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

const (
	manifestMost = 8 << 20 // bytes of a manifest or configuration
	indexesMost  = 8       // in each other
)

// fromLayout reads an image of an OCI layout: oci:DIR, oci:DIR:TAG or oci:DIR@DIGEST.
func fromLayout(name, platform string) (*source.Source, error) {
	rest, ok := strings.CutPrefix(name, "oci:")
	if !ok {
		return nil, fmt.Errorf("%s: only OCI layouts can be imported: oci:DIR[:TAG|@DIGEST]", name)
	}
	wanted, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, fmt.Errorf("--platform %s: %w", platform, err)
	}
	dir, digest, _ := strings.Cut(rest, "@")
	tag := ""
	if at := strings.LastIndexByte(dir, ':'); at >= 0 && digest == "" {
		dir, tag = dir[:at], dir[at+1:]
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("read layout %s: %w", dir, err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("read layout %s: %w", dir, err)
	}
	img, err := choose(index, func(d v1.Descriptor) bool {
		return (digest == "" || d.Digest.String() == digest) && (tag == "" || d.Annotations["org.opencontainers.image.ref.name"] == tag)
	}, wanted, indexesMost)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	src, err := sourceOf(img)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	src.Reference = name
	return src, nil
}

// choose finds the image of a platform in an index, and in those that it has.
func choose(index v1.ImageIndex, fits func(v1.Descriptor) bool, platform *v1.Platform, depth int) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var there []string
	for _, d := range manifest.Manifests {
		if !fits(d) {
			continue
		}
		switch {
		case d.MediaType.IsIndex() && depth > 0:
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			return choose(inner, func(v1.Descriptor) bool { return true }, platform, depth-1)
		case d.MediaType.IsImage() && (d.Platform == nil || d.Platform.Satisfies(*platform)):
			return index.Image(d.Digest)
		case d.Platform != nil:
			there = append(there, d.Platform.String())
		}
	}
	return nil, fmt.Errorf("no image for %s; there are %q", platform, there)
}

func sourceOf(img v1.Image) (*source.Source, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	src := &source.Source{Digest: image.Digest(digest.String())}
	if src.RawManifest, err = img.RawManifest(); err != nil {
		return nil, err
	}
	if src.RawConfig, err = img.RawConfigFile(); err != nil {
		return nil, err
	}
	if len(src.RawManifest) > manifestMost || len(src.RawConfig) > manifestMost {
		return nil, fmt.Errorf("a manifest of %d and a configuration of %d bytes", len(src.RawManifest), len(src.RawConfig))
	}
	var config struct {
		image.Platform
		Config image.Config
	}
	if err := json.Unmarshal(src.RawConfig, &config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	src.Platform, src.Config = config.Platform, config.Config
	all, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		layer, err := layerOf(l)
		if err != nil {
			return nil, err
		}
		src.Layers = append(src.Layers, layer)
	}
	return src, nil
}

func layerOf(l v1.Layer) (source.Layer, error) {
	digest, err := l.Digest()
	if err != nil {
		return source.Layer{}, err
	}
	diffID, err := l.DiffID()
	if err != nil {
		return source.Layer{}, err
	}
	size, err := l.Size()
	if err != nil {
		return source.Layer{}, err
	}
	kind, err := l.MediaType()
	if err != nil {
		return source.Layer{}, err
	}
	return source.Layer{
		Digest: image.Digest(digest.String()), DiffID: image.Digest(diffID.String()), Size: size, MediaType: string(kind),
		Open: func(context.Context) (io.ReadCloser, error) { return l.Compressed() },
	}, nil
}

// isTerminal reports whether people look at the file.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
