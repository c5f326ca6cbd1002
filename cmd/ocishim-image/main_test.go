package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ocishim/ocishim/internal/image"
)

// call runs the command line, and returns what it prints.
func call(t *testing.T, store string, args ...string) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	failed := newApp(store).RunContext(t.Context(), append([]string{"ocishim-image"}, args...))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), failed
}

// newLayout makes an OCI layout of an index with images for two platforms, and a tag.
func newLayout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, of(t, "amd64"), of(t, "arm64"))
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "tag"})); err != nil {
		t.Fatal(err)
	}
	return dir
}

func of(t *testing.T, architecture string) mutate.IndexAddendum {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "architecture", Size: int64(len(architecture)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(architecture)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	platform := v1.Platform{OS: "linux", Architecture: architecture}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: platform.OS, Architecture: architecture, RootFS: rootFS(t, img), Config: v1.Config{Env: []string{"A=1"}, Cmd: []string{"sh"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &platform}}
}

func rootFS(t *testing.T, img v1.Image) v1.RootFS {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.RootFS
}

// Every verb, on an image of a platform of an index.
func TestVerbs(t *testing.T) {
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	store, name := filepath.Join(top, "store"), "oci:"+newLayout(t)+":tag"
	digest := ""
	for _, format := range []string{"tree", "sqfs", "tree"} {
		out, err := call(t, store, "pull", "--format", format, "--platform", "linux/arm64", name)
		if err != nil || digest != "" && strings.TrimSpace(out) != digest {
			t.Fatalf("pull: %q, %v", out, err)
		}
		digest = strings.TrimSpace(out)
	}
	for _, which := range []string{name, digest} {
		out, err := call(t, store, "inspect", which)
		var record struct {
			image.Record
			Path string
		}
		if err := json.Unmarshal([]byte(out), &record); err != nil {
			t.Fatalf("inspect: %v: %s", err, out)
		}
		text, rerr := os.ReadFile(filepath.Join(record.Path, "architecture"))
		if err != nil || rerr != nil || string(text) != "arm64" || record.Platform.Architecture != "arm64" || record.Config.Env[0] != "A=1" || record.Reference != name {
			t.Errorf("%s: %q, %+v, %v, %v", which, text, record, err, rerr)
		}
	}
	for _, verb := range [][]string{{"verify"}, {"verify", name}, {"gc", "--max-size", "1GB"}} {
		if out, err := call(t, store, verb...); err != nil || out != "" {
			t.Errorf("%s: %q, %v", verb, out, err)
		}
	}
	out, err := call(t, store, "ls", "--json")
	var records []image.Record
	if jerr := json.Unmarshal([]byte(out), &records); err != nil || jerr != nil || len(records) != 2 {
		t.Errorf("ls: %v, %v: %s", err, jerr, out)
	}
	if out, err := call(t, store, "ls"); err != nil || strings.Count(out, digest[7:19]) != 2 {
		t.Errorf("ls: %v: %s", err, out)
	}
	if out, err := call(t, store, "rm", name); err != nil || out != "" {
		t.Errorf("rm: %q, %v", out, err)
	}
	if out, err := call(t, store, "ls", "--json"); err != nil || strings.TrimSpace(out) != "[]" {
		t.Errorf("ls: %q, %v", out, err)
	}
}

// What cannot be is said as such.
func TestErrors(t *testing.T) {
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	store, dir := filepath.Join(top, "store"), newLayout(t)
	for want, args := range map[string][]string{
		"unknown verb":     {"pul"},
		"wants one image":  {"pull"},
		"only OCI layouts": {"pull", "docker://debian"},
		`there are ["linux/amd64" "linux/arm64"]`: {"pull", "--platform", "linux/riscv64", "oci:" + dir + ":tag"},
		"no image for":    {"pull", "oci:" + dir + ":other"},
		"--format x":      {"pull", "--format", "x", "oci:" + dir},
		"no such file":    {"pull", "oci:" + dir + "/none"},
		"not in a store":  {"inspect", "name"},
		"--max-size":      {"gc", "--max-size", "much"},
		"store: give --s": {"--store", "", "ls"},
	} {
		if _, err := call(t, store, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	if err := os.Chmod(store, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, store, "ls"); err == nil || !strings.Contains(err.Error(), "not to be trusted") {
		t.Errorf("a store that all may write to: %v", err)
	}
}
