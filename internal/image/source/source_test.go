package source

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
)

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
		"not JSON":     {raw(`{`), ErrMalformed, "cannot be parsed"},
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
		"a wrong diff_id":  {with(func(c, _ map[string]any) { c["rootfs"] = map[string]any{"diff_ids": []string{"sha256:../../x"}} }), ErrMalformed, "a layer with DiffID"},
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
