//go:build integration

package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Media types of what is in a layout.
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar+gzip"
	ociZstd        = "application/vnd.oci.image.layer.v1.tar+zstd"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerZstd     = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	foreignLayer   = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

type object = map[string]any

// A layout is an OCI layout with one tag, "1".
type layout struct {
	t   *testing.T
	dir string
}

func (l layout) file(name string, data []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// blob writes a blob and returns its descriptor.
func (l layout) blob(media string, data []byte) object {
	l.t.Helper()
	name := digest(data)
	l.file("blobs/sha256/"+name[len("sha256:"):], data)
	return object{"mediaType": media, "digest": name, "size": len(data)}
}

func (l layout) json(media string, v any) object {
	l.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(media, data)
}

// A packed layer is what a layout has of it.
type packed struct {
	media string
	data  []byte
	diff  string // digest of the archive
}

func (l layout) config(architecture string, layers []packed) object {
	diffs := []string{}
	for _, p := range layers {
		diffs = append(diffs, p.diff)
	}
	return object{
		"os": "linux", "architecture": architecture, "config": object{"Cmd": []string{"/x"}},
		"rootfs": object{"type": "layers", "diff_ids": diffs},
	}
}

// image writes an image and returns the descriptor of its manifest.
func (l layout) image(architecture string, layers []packed) object {
	l.t.Helper()
	manifest, config := ociManifest, ociConfig
	list := []any{}
	for _, p := range layers {
		if p.media == dockerZstd {
			manifest, config = dockerManifest, dockerConfig
		}
		list = append(list, l.blob(p.media, p.data))
	}
	return l.json(manifest, object{
		"schemaVersion": 2, "mediaType": manifest, "layers": list,
		"config": l.json(config, l.config(architecture, layers)),
	})
}

// write ends the layout: its index has the tag.
func (l layout) write(entry object) {
	l.t.Helper()
	entry["annotations"] = object{"org.opencontainers.image.ref.name": "1"}
	data, err := json.Marshal(object{"schemaVersion": 2, "manifests": []any{entry}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.file("index.json", data)
	l.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func forPlatform(d object, os, architecture string) object {
	d["platform"] = object{"os": os, "architecture": architecture}
	return d
}

// gzipped is how layers are packed unless a case says otherwise.
func gzipped(archive []byte) (string, []byte) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(archive) //nolint:errcheck // of a buffer
	w.Close()        //nolint:errcheck // of a buffer
	return ociLayer, out.Bytes()
}

// twoGzips packs a layer as two members of gzip, one after the other.
func twoGzips(archive []byte) (string, []byte) {
	_, one := gzipped(archive[:700])
	_, two := gzipped(archive[700:])
	return ociLayer, append(one, two...)
}

func zstded(media string) packer {
	return func(archive []byte) (string, []byte) {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err)
		}
		return media, w.EncodeAll(archive, nil)
	}
}

// skippable packs a layer with zstd after a frame that is to be skipped, as zstd:chunked does.
func skippable(archive []byte) (string, []byte) {
	_, data := zstded(ociZstd)(archive)
	return ociZstd, append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), data...)
}

func xzed(archive []byte) (string, []byte) {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		panic(err)
	}
	w.Write(archive) //nolint:errcheck // of a buffer
	w.Close()        //nolint:errcheck // of a buffer
	return ociLayer, out.Bytes()
}

func unpacked(archive []byte) (string, []byte) { return ociLayer, archive }

// nested puts the image into an index in an index.
func nested(l layout, image object) object {
	inner := l.json(ociIndex, object{
		"schemaVersion": 2, "mediaType": ociIndex,
		"manifests": []any{forPlatform(image, "linux", runtime.GOARCH)},
	})
	return l.json(ociIndex, object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []any{inner}})
}

// besideOthers puts the image into an index after images for other platforms.
func besideOthers(l layout, image object) object {
	media, data := gzipped(archive(l.t, []string{"wrong=1"}))
	other := l.image("s390x", []packed{{media, data, digest(archive(l.t, []string{"wrong=1"}))}})
	windows := l.image(runtime.GOARCH, nil)
	return l.json(ociIndex, object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": []any{
		forPlatform(other, "linux", "s390x"), forPlatform(windows, "windows", runtime.GOARCH), forPlatform(image, "linux", runtime.GOARCH),
	}})
}

// onlyOther is an image for another platform alone.
func onlyOther(l layout, image object) object {
	return l.json(ociIndex, object{
		"schemaVersion": 2, "mediaType": ociIndex,
		"manifests": []any{forPlatform(image, "linux", "s390x")},
	})
}

// windows has a layer that is to be had from its maker alone.
func windows(l layout, _ object) object {
	config := l.config(runtime.GOARCH, []packed{{diff: digest(nil)}})
	config["os"] = "windows"
	return l.json(dockerManifest, object{
		"schemaVersion": 2, "mediaType": dockerManifest, "config": l.json(dockerConfig, config),
		"layers": []any{object{"mediaType": foreignLayer, "size": 1 << 20, "digest": digest([]byte("windows")), "urls": []string{"https://windows.invalid/layer"}}},
	})
}

// artifact is no image but something else that registries keep.
func artifact(l layout, _ object) object {
	return l.json(ociManifest, object{
		"schemaVersion": 2, "mediaType": ociManifest, "artifactType": "application/vnd.example.sbom",
		"config": l.json("application/vnd.oci.empty.v1+json", object{}),
		"layers": []any{l.blob("application/spdx+json", []byte("{}"))},
	})
}
