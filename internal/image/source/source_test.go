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

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

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

// file writes below the directory, and follows no link out of it: tests run as root.
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

// blob keeps data, and returns its descriptor.
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

// tarOf is an archive of one file.
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

// image makes an image for a platform, OS/ARCHITECTURE[/VARIANT], of one layer.
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

// forPlatform says in an index which platform an entry is for.
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

// from opens the image alone in index.json.
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

func TestPlatforms(t *testing.T) {
	b := newBuilder(t)
	images := func(platforms ...string) []map[string]any {
		var list []map[string]any
		for _, p := range platforms {
			list = append(list, forPlatform(b.image(p), p))
		}
		return list
	}
	attestation := forPlatform(b.image("unknown/unknown"), "unknown/unknown")
	attestation["annotations"] = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	for name, c := range map[string]struct {
		list []map[string]any
		host string
		want string // the platform, or the error
	}{
		"the only one":       {images("linux/amd64"), "linux/amd64", "linux/amd64"},
		"of several":         {images("linux/arm64/v8", "linux/amd64", "windows/amd64"), "linux/amd64", "linux/amd64"},
		"arm64 by variant":   {images("linux/amd64", "linux/arm64/v8"), "linux/arm64", "linux/arm64/v8"},
		"the best variant":   {images("linux/amd64", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v4"), "linux/amd64/v3", "linux/amd64/v3"},
		"no higher variant":  {images("linux/amd64/v3", "linux/amd64"), "linux/amd64", "linux/amd64"},
		"arm, a lower one":   {images("linux/arm/v5", "linux/arm/v6"), "linux/arm/v7", "linux/arm/v6"},
		"too high":           {images("linux/amd64/v3"), "linux/amd64", "linux/amd64 is wanted, there is linux/amd64/v3"},
		"another":            {images("linux/arm64", "windows/amd64"), "linux/amd64", "linux/amd64 is wanted, there is linux/arm64, windows/amd64"},
		"attestations":       {append(images("linux/amd64"), attestation), "linux/amd64", "linux/amd64"},
		"attestations alone": {[]map[string]any{attestation}, "linux/amd64", "there is none"},
		"none":               {[]map[string]any{}, "linux/amd64", "there is none"},
		"nested":             {[]map[string]any{b.index(images("linux/arm64")...), b.index(images("linux/amd64")...)}, "linux/amd64", "linux/amd64"},
		"nested, another":    {[]map[string]any{b.index(images("linux/arm64")...)}, "linux/amd64", "there is linux/arm64"},
		"unsaid, one":        {[]map[string]any{b.image("linux/amd64")}, "linux/amd64", "linux/amd64"},
		"unsaid, several":    {[]map[string]any{b.image("linux/arm64"), b.image("linux/amd64")}, "linux/amd64", "linux/amd64"},
		"unsaid, another":    {[]map[string]any{b.image("linux/arm64"), b.image("linux/s390x")}, "linux/amd64", "there is linux/arm64, linux/s390x"},
		"a lie":              {[]map[string]any{forPlatform(b.image("linux/arm64"), "linux/amd64")}, "linux/amd64", "there is linux/arm64"},
		"too deep":           {[]map[string]any{b.index(b.index(b.index(b.index(b.index(images("linux/amd64")...)))))}, "linux/amd64", "deeper than 4"},
	} {
		t.Run(name, func(t *testing.T) {
			host, err := image.ParsePlatform(c.host)
			if err != nil {
				t.Fatal(err)
			}
			s, err := b.from(b.index(c.list...), host)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrPlatform) && !errors.Is(err, ErrMalformed) {
					t.Errorf("%v; want %s", err, c.want)
				}
				return
			}
			defer s.Close() //nolint:errcheck // only read from
			if got := unpacked(t, s); got != "etc/platform="+c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
			if s.Config.Env[0] != "PLATFORM="+c.want || s.Config.WorkingDir != "/w" || s.Config.Entrypoint[0] != "/bin/true" {
				t.Errorf("%+v", s.Config)
			}
			if digest, _, _ := sum(s.RawManifest); digest.String() != string(s.Digest) {
				t.Errorf("%s is not the digest of the manifest", s.Digest)
			}
		})
	}
}

func TestNoImages(t *testing.T) {
	b := newBuilder(t)
	layer := func(media string) func(config, manifest map[string]any) {
		return func(_, manifest map[string]any) {
			d := manifest["layers"].([]any)[0].(map[string]any)
			d["mediaType"] = media
		}
	}
	with := func(change func(config, manifest map[string]any)) map[string]any {
		return b.image("linux/amd64", change)
	}
	raw := func(s string) map[string]any { return b.blob(types.OCIManifestSchema1, []byte(s)) }
	config := `"config":{"digest":"sha256:` + strings.Repeat("0", 64) + `","size":2}`
	for name, c := range map[string]struct {
		d    map[string]any
		is   error
		want string
	}{
		"schema 1":     {raw(`{"schemaVersion":1,"fsLayers":[]}`), ErrUnsupported, "schema 1"},
		"schema 3":     {raw(`{"schemaVersion":3,"layers":[],` + config + `}`), ErrUnsupported, "schema 3"},
		"not JSON":     {raw(`{`), ErrMalformed, "not understood"},
		"empty":        {raw(`{"schemaVersion":2}`), ErrMalformed, "neither an index"},
		"both":         {raw(`{"schemaVersion":2,"manifests":[],"layers":[],` + config + `}`), ErrMalformed, "both an index and a manifest"},
		"another type": {raw(`{"schemaVersion":2,"mediaType":"text/html","layers":[],` + config + `}`), ErrUnsupported, "text/html"},
		"an artifact": {with(func(_, m map[string]any) {
			m["config"] = b.blob("application/vnd.cncf.helm.config.v1+json", []byte("{}"))
		}), ErrUnsupported, "an artifact of type application/vnd.cncf.helm.config.v1+json"},
		"SIF": {with(func(_, m map[string]any) {
			m["config"] = b.blob("application/vnd.sylabs.sif.config.v1+json", []byte("{}"))
			layer("application/vnd.sylabs.sif.layer.v1.sif")(nil, m)
		}), ErrUnsupported, "oras://"},
		"encrypted":        {with(layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")), ErrUnsupported, "encrypted"},
		"no tar":           {with(layer("application/vnd.in-toto+json")), ErrUnsupported, "in-toto"},
		"fewer layers":     {with(func(_, m map[string]any) { m["layers"] = []any{} }), ErrMalformed, "0 layers in its manifest, and 1"},
		"a wrong diff_id":  {with(func(c, _ map[string]any) { c["rootfs"] = map[string]any{"diff_ids": []string{"sha256:../../x"}} }), ErrMalformed, "a layer of"},
		"a huge layer":     {with(func(_, m map[string]any) { m["layers"].([]any)[0].(map[string]any)["size"] = int64(1) << 50 }), ErrMalformed, "bytes"},
		"a negative layer": {with(func(_, m map[string]any) { m["layers"].([]any)[0].(map[string]any)["size"] = -1 }), ErrMalformed, "-1 bytes"},
		"a huge config": {with(func(_, m map[string]any) {
			d := b.blob(types.OCIConfigJSON, []byte("{}"))
			d["size"] = 1 << 30
			m["config"] = d
		}), ErrMalformed, "a configuration of"},
		"a wrong size": {with(func(_, m map[string]any) {
			d := b.blob(types.OCIConfigJSON, []byte("{}"))
			d["size"] = 3
			m["config"] = d
		}), ErrDigest, "2 bytes instead of 3"},
		"config null":     {with(func(_, m map[string]any) { m["config"] = b.blob(types.OCIConfigJSON, []byte("null")) }), ErrMalformed, "configuration"},
		"another root":    {with(func(c, _ map[string]any) { c["rootfs"] = map[string]any{"type": "layers+base"} }), ErrUnsupported, "layers+base"},
		"too many layers": {with(func(c, m map[string]any) { many(c, m, maxLayers+1) }), ErrMalformed, "at most 1000"},
		"sha512": {with(func(_, m map[string]any) {
			m["config"] = map[string]any{"digest": "sha512:" + strings.Repeat("0", 128), "size": 2}
		}), ErrUnsupported, "sha512"},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := b.from(c.d, amd64); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want %v, %s", s, err, c.is, c.want)
			}
		})
	}
}

// many repeats the layer.
func many(config, manifest map[string]any, n int) {
	layers, ids := []any{}, []string{}
	for range n {
		layers = append(layers, manifest["layers"].([]any)[0])
		ids = append(ids, config["rootfs"].(map[string]any)["diff_ids"].([]string)[0])
	}
	manifest["layers"], config["rootfs"] = layers, map[string]any{"type": "layers", "diff_ids": ids}
}

// A layer whose bytes are others fails when it is read, and links lead nowhere.
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
	// For several platforms, as skopeo copies them without an index.
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

// archiveOf is the layout as a tar archive.
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

// A few bytes do not become a full disk.
func TestArchiveBomb(t *testing.T) {
	var small bytes.Buffer
	encoder, err := zstd.NewWriter(&small)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range freeArchive/len(zeros) + 10 {
		if _, err := encoder.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := encoder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := decompress(context.Background(), io.Discard, bytes.NewReader(small.Bytes()), int64(small.Len())); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d bytes: %v", small.Len(), err)
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
