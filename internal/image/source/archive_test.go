package source

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ocishim/ocishim/internal/image"
)

// A layer with wrong bytes fails when it is read, and links do not lead out of the layout.
func TestHostileLayout(t *testing.T) {
	b := newBuilder(t)
	d := b.image("linux/amd64")
	s, err := b.from(d, amd64)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // only read from
	blob := filepath.Join(b.dir, "blobs/sha256", strings.TrimPrefix(string(s.Layers[0].Digest), "sha256:"))
	if err := os.WriteFile(blob, bytes.Repeat([]byte("x"), int(s.Layers[0].Size)), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Layers[0].Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read from
	if _, err := io.ReadAll(r); !errors.Is(err, ErrDigest) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, bytes.Repeat([]byte("x"), int(s.Layers[0].Size)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, blob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Layers[0].Open(context.Background()); err == nil {
		t.Error("a link led out of the layout")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b = newBuilder(t)
	whole, err := b.from(b.image("linux/amd64"), amd64)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = whole.Layers[0].Open(ctx); err == nil {
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestTags(t *testing.T) {
	b := newBuilder(t)
	one, two := b.image("linux/amd64"), b.image("linux/amd64", func(config, _ map[string]any) { config["author"] = "x" })
	b.write(map[string]map[string]any{"1": one, "2": two})
	open := func(tag string, digest any) (*Source, error) {
		r := image.Reference{Kind: image.KindLayout, Path: b.dir, Tag: tag}
		if digest != nil {
			r.Digest = image.Digest(digest.(string))
		}
		return Open(context.Background(), r, Options{Platform: amd64})
	}
	for tag, want := range map[string]any{"1": one["digest"], "2": two["digest"]} {
		if s, err := open(tag, nil); err != nil || string(s.Digest) != want {
			t.Errorf("%s: %+v, %v", tag, s, err)
		}
	}
	if s, err := open("", two["digest"]); err != nil || string(s.Digest) != two["digest"] {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := open("3", nil); err == nil || !strings.Contains(err.Error(), "no such image 3; there is ") {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := open("", nil); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("%+v, %v", s, err)
	}
	// Images for several platforms, as skopeo copies them without an index.
	arm := forPlatform(b.image("linux/arm64"), "linux/arm64")
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{arm, forPlatform(b.image("linux/amd64"), "linux/amd64")}})
	if err != nil {
		t.Fatal(err)
	}
	b.file("index.json", data)
	if s, err := open("", nil); err != nil || s.Platform != amd64 {
		t.Errorf("%+v, %v", s, err)
	}
}

// archiveOf returns the layout as a tar archive.
func (b *builder) archiveOf() []byte {
	b.t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.AddFS(os.DirFS(b.dir)); err != nil {
		b.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

func TestOCIArchive(t *testing.T) {
	b := newBuilder(t)
	b.write(map[string]map[string]any{"1": b.image("linux/amd64")})
	plain := b.archiveOf()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"a.tar": plain, "a.tar.gz": zipped(t, plain), "a.tar.zst": encoder.EncodeAll(plain, nil)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, r := range []image.Reference{{Kind: image.KindOCIArchive, Path: path, Tag: "1"}, {Kind: image.KindArchive, Path: path}} {
			s, err := Open(context.Background(), r, Options{Platform: amd64, TempDir: dir})
			if err != nil {
				t.Errorf("%s: %v", r, err)
				continue
			}
			if got := unpacked(t, s); got != "etc/platform=linux/amd64" {
				t.Errorf("%s: %s", r, got)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.tar"), plain[:len(plain)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"bad.tar": plain[:len(plain)/2], "bad.gz": zipped(t, plain)[:100], "root.tar": tarOf(t, "bin/sh=x"), "x.xz": []byte("\xfd7zXZ\x00xxxx")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(context.Background(), image.Reference{Kind: image.KindArchive, Path: filepath.Join(dir, name)}, Options{Platform: amd64, TempDir: dir}); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// A small archive cannot fill the disk.
func TestArchiveBomb(t *testing.T) {
	const most = 1 << 20
	small := zipped(t, make([]byte, most+1))
	for limit, want := range map[int64]error{most: ErrMalformed, most + 1: nil} {
		if err := decompress(context.Background(), io.Discard, bytes.NewReader(small), limit); !errors.Is(err, want) {
			t.Errorf("%d bytes, of at most %d: %v", len(small), limit, err)
		}
	}
}

func TestDockerArchive(t *testing.T) {
	one, two := tarOf(t, "a=1"), tarOf(t, "b=2")
	id := func(data []byte) string {
		digest, _, err := sum(data)
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","config":{"Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":[%q,%q]}}`, id(one), id(two))
	name := strings.TrimPrefix(id([]byte(config)), "sha256:") + ".json"
	manifest := fmt.Sprintf(`[{"Config":%q,"RepoTags":["app:1"],"Layers":["1/layer.tar","2/layer.tar"]}]`, name)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		w.Write(data) //nolint:errcheck // of a buffer
	}
	add("0/layer.tar", one)
	if err := w.WriteHeader(&tar.Header{Name: "1/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../0/layer.tar"}); err != nil {
		t.Fatal(err)
	}
	add("2/layer.tar", zipped(t, two))
	add(name, []byte(config))
	add("manifest.json", []byte(manifest))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "app:1", "docker.io/library/app:1", strings.TrimPrefix(id([]byte(config)), "sha256:")[:12]} {
		s, err := Open(context.Background(), image.Reference{Kind: image.KindDockerArchive, Path: path, Name: name}, Options{Platform: amd64})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := unpacked(t, s); got != "a=1 b=2" || s.Config.Cmd[0] != "x" {
			t.Errorf("%s: %s, %+v", name, got, s.Config)
		}
		if digest, _, _ := sum(s.RawManifest); digest.String() != string(s.Digest) {
			t.Error("another digest than the manifest's")
		}
	}
	if s, err := Open(context.Background(), image.Reference{Kind: image.KindDockerArchive, Path: path, Name: "app:2"}, Options{Platform: amd64}); err == nil || !strings.Contains(err.Error(), "there is app:1") {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := Open(context.Background(), image.Reference{Kind: image.KindDockerArchive, Path: path}, Options{Platform: image.Platform{OS: "linux", Architecture: "arm64"}}); !errors.Is(err, ErrPlatform) {
		t.Errorf("%+v, %v", s, err)
	}
}
