package source

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/ocishim/ocishim/internal/image"
)

var amd64 = image.Platform{OS: "linux", Architecture: "amd64"}

// A builder makes an OCI layout, blob by blob.
type builder struct {
	t   *testing.T
	dir string
}

func newBuilder(t *testing.T) *builder {
	b := &builder{t: t, dir: t.TempDir()}
	b.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return b
}

// file writes a file below the directory. It follows no link out of it, since tests run as root.
func (b *builder) file(name string, data []byte) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // only its files matter
	if err := root.WriteFile(name, data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// blob writes a blob and returns its descriptor.
func (b *builder) blob(media types.MediaType, data []byte) map[string]any {
	b.t.Helper()
	digest, size, err := sum(data)
	if err != nil {
		b.t.Fatal(err)
	}
	b.file(inLayout(digest), data)
	return map[string]any{"mediaType": media, "digest": digest.String(), "size": size}
}

func (b *builder) json(media types.MediaType, v any) map[string]any {
	b.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.blob(media, data)
}

// tarOf returns an archive of files.
func tarOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content) //nolint:errcheck // of a buffer
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(data) //nolint:errcheck // of a buffer
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// image makes an image with one layer for a platform, OS/ARCHITECTURE[/VARIANT].
func (b *builder) image(platform string, change ...func(config, manifest map[string]any)) map[string]any {
	b.t.Helper()
	layer := tarOf(b.t, "etc/platform="+platform)
	diff, _, err := sum(layer)
	if err != nil {
		b.t.Fatal(err)
	}
	config := map[string]any{
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diff.String()}},
		"config": map[string]any{"Env": []string{"PLATFORM=" + platform}, "Entrypoint": []string{"/bin/true"}, "WorkingDir": "/w"},
	}
	parts := strings.Split(platform+"///", "/")
	if platform != "" {
		config["os"], config["architecture"], config["variant"] = parts[0], parts[1], parts[2]
	}
	manifest := map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1,
		"layers": []any{b.blob(types.OCILayer, zipped(b.t, layer))},
	}
	for _, f := range change {
		f(config, manifest)
	}
	if manifest["config"] == nil {
		manifest["config"] = b.json(types.OCIConfigJSON, config)
	}
	return b.json(types.OCIManifestSchema1, manifest)
}

// forPlatform sets the platform of an index's entry.
func forPlatform(d map[string]any, platform string) map[string]any {
	parts := strings.Split(platform+"///", "/")
	d["platform"] = map[string]string{"os": parts[0], "architecture": parts[1], "variant": parts[2]}
	return d
}

func (b *builder) index(entries ...map[string]any) map[string]any {
	return b.json(types.OCIImageIndex, map[string]any{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": entries})
}

// write makes index.json, with an entry for each TAG.
func (b *builder) write(entries map[string]map[string]any) {
	b.t.Helper()
	list := []any{}
	for tag, d := range entries {
		if tag != "" {
			d["annotations"] = map[string]string{refName: tag}
		}
		list = append(list, d)
	}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": list})
	if err != nil {
		b.t.Fatal(err)
	}
	b.file("index.json", data)
}

// from opens an image that is the only one in index.json.
func (b *builder) from(d map[string]any, platform image.Platform) (*Source, error) {
	b.t.Helper()
	b.write(map[string]map[string]any{"": d})
	return Open(context.Background(), image.Reference{Kind: image.KindLayout, Path: b.dir}, Options{Platform: platform})
}

// unpacked reads all layers of an image.
func unpacked(t *testing.T, s *Source) string {
	t.Helper()
	var all []string
	for _, layer := range s.Layers {
		r, err := layer.Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close() //nolint:errcheck // only read from
		if int64(len(data)) != layer.Size {
			t.Errorf("%d bytes, its size is %d", len(data), layer.Size)
		}
		if got, _, _ := sum(data); got.String() != string(layer.Digest) {
			t.Errorf("%s, its digest is %s", got, layer.Digest)
		}
		var plain io.Reader = bytes.NewReader(data)
		if compression(data) == "gzip" {
			if plain, err = gzip.NewReader(plain); err != nil {
				t.Fatal(err)
			}
		}
		if data, err = io.ReadAll(plain); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := sum(data); got.String() != string(layer.DiffID) {
			t.Errorf("%s, its DiffID is %s", got, layer.DiffID)
		}
		for r := tar.NewReader(bytes.NewReader(data)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, h.Name+"="+string(data))
		}
	}
	return strings.Join(all, " ")
}
