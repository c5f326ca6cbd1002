package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ocishim/ocishim/internal/image"
)

// A scene is a user with a home and a store, without any configuration of the host.
type scene struct {
	user
	home, store string
}

func newScene(t *testing.T) scene {
	t.Helper()
	home := t.TempDir()
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(home, "registries.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=" + home, "TMPDIR=" + home, "CONTAINERS_REGISTRIES_CONF=" + conf}
	return scene{user{env: env, dir: home}, home, filepath.Join(home, "store")}
}

// call runs the command line and returns what it prints on standard output.
func (s scene) call(t *testing.T, args ...string) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	failed := newApp(s.user).RunContext(t.Context(), append([]string{"ocishim-image", "--store", s.store}, args...))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), failed
}

// ok is a call that must not fail. It drops the line break at the end of the output.
func (s scene) ok(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.call(t, args...)
	if err != nil {
		t.Fatalf("%q: %v (%s)", args, err, hint(err))
	}
	return strings.TrimSuffix(out, "\n")
}

// newLayout makes an OCI layout whose index has images for two platforms and a tag.
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

// Every verb works on an image from an index in an OCI layout.
func TestVerbs(t *testing.T) {
	s, name := newScene(t), "oci:"+newLayout(t)+":tag"
	digest := ""
	for _, format := range []string{"tree", "sqfs", "tree"} {
		out := s.ok(t, "pull", "--format", format, name)
		if digest != "" && out != digest {
			t.Fatalf("pull: %s, not %s", out, digest)
		}
		digest = out
	}
	for _, which := range []string{name, digest} {
		var record struct {
			image.Record
			Path string
		}
		out := s.ok(t, "inspect", which)
		if err := json.Unmarshal([]byte(out), &record); err != nil {
			t.Fatalf("inspect: %v: %s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(record.Path, "architecture"))
		if err != nil || string(text) != runtime.GOARCH || record.Platform.Architecture != runtime.GOARCH || record.Config.Env[0] != "A=1" || record.Reference != name {
			t.Errorf("%s: %q, %+v, %v", which, text, record, err)
		}
	}
	for _, verb := range [][]string{{"verify"}, {"verify", name}, {"gc", "--max-size", "1GB"}} {
		if out := s.ok(t, verb...); out != "" {
			t.Errorf("%s: %q", verb, out)
		}
	}
	var records []image.Record
	if out := s.ok(t, "ls", "--json"); json.Unmarshal([]byte(out), &records) != nil || len(records) != 2 {
		t.Errorf("ls: %s", out)
	}
	if out := s.ok(t, "ls"); strings.Count(out, digest[7:19]) != 2 {
		t.Errorf("ls: %s", out)
	}
	if out := s.ok(t, "rm", name); out != "" {
		t.Errorf("rm: %q", out)
	}
	if out := s.ok(t, "ls", "--json"); out != "[]" {
		t.Errorf("ls: %q", out)
	}
}

// An image for another platform gets no name: on this host the name would lead to it.
func TestOtherPlatform(t *testing.T) {
	s, name := newScene(t), "oci:"+newLayout(t)+":tag"
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	digest := s.ok(t, "pull", "--platform", "linux/"+other, name)
	if own := s.ok(t, "resolve", name); own == digest {
		t.Errorf("resolve: %s for both", own)
	}
	if out := s.ok(t, "resolve", "--platform", other, name); out != digest {
		t.Errorf("resolve: %s, not %s", out, digest)
	}
	if out, err := s.call(t, "inspect", name); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("inspect by name: %v, %s", err, out)
	}
	if out := s.ok(t, "inspect", digest); !strings.Contains(out, `"architecture": "`+other) {
		t.Errorf("inspect: %s", out)
	}
}

// Every mistake gives an error that names it, and a hint.
func TestErrors(t *testing.T) {
	s, dir := newScene(t), newLayout(t)
	for _, c := range []struct {
		want, hint string
		args       []string
	}{
		{"unknown verb", "--help", []string{"pul"}},
		{"flag provided but not defined", "--help", []string{"pull", "--formt", "x"}},
		{"pull wants an image", "--help", []string{"pull"}},
		{"image nvcr.io:x: no repository", "nvcr.io/", []string{"pull", "nvcr.io:x"}},
		{"a single word is not looked up in registries", "docker://ubuntu", []string{"pull", "ubuntu"}},
		{"this cannot be imported", "ocishim", []string{"pull", "@name"}},
		{"linux/riscv64 is wanted, there is linux/amd64, linux/arm64", "--platform", []string{"pull", "--platform", "linux/riscv64", "oci:" + dir + ":tag"}},
		{"--format x", "--help", []string{"pull", "--format", "x", "oci:" + dir}},
		{"--prefer x", "--help", []string{"--prefer", "x", "pull", "oci:" + dir}},
		{"--name a/b", "--help", []string{"pull", "--name", "a/b", "oci:" + dir}},
		{"no such file", "", []string{"pull", "oci:" + dir + "/none"}},
		{"no image: an empty file", "squashfs", []string{"import", "registries.conf"}},
		{"not in a store", "ls", []string{"inspect", "name"}},
		{"not in a store", "ls", []string{"pull", "sha256:" + strings.Repeat("0", 64)}},
		{"not in a store", "ls", []string{"stub", "sha256:" + strings.Repeat("0", 64)}},
		{"--max-size", "--help", []string{"gc", "--max-size", "much"}},
		{"no store", "--store", []string{"--store", "", "ls"}},
		{"the same descriptor was given twice", "--help", []string{"serve", "--image", "3", "--client", "3", "--uid", "0", "--gid", "0"}},
		{"standard stream", "--help", []string{"serve", "--image", "1", "--client", "2", "--uid", "0", "--gid", "0"}},
		{"not valid ids", "--help", []string{"serve", "--image", "4", "--client", "5", "--uid", "-1", "--gid", "0"}},
		{"is not a registry", "--help", []string{"logout", "a b"}},
		{"not logged in", "docker logout", []string{"logout", "a.example"}},
	} {
		_, err := s.call(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(hint(err), c.hint) {
			t.Errorf("%q: %v, want %q; hint: %q, want %q", c.args, err, c.want, hint(err), c.hint)
		}
	}
	policy := filepath.Join(s.home, ".config/containers/policy.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(policy), 0o700), os.WriteFile(policy, []byte(`{"default":[{"type":"signedBy"}]}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.call(t, "pull", "oci:"+dir+":tag"); err == nil || !strings.Contains(err.Error(), policy) || !strings.Contains(hint(err), "skopeo") {
		t.Errorf("an image that needs a signature: %v", err)
	}
	if err := os.Chmod(s.store, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := s.call(t, "ls"); err == nil || !strings.Contains(err.Error(), "not to be trusted") {
		t.Errorf("a store that all may write to: %v", err)
	}
}
