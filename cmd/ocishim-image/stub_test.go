package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ocishim/ocishim/internal/image"
)

// move makes a/b:1 another image, and returns its digest.
func (s *listener) move(t *testing.T) string {
	t.Helper()
	reference, err := name.ParseReference(s.host + "/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := mutate.Config(of(t, image.HostPlatform().Architecture).Add.(v1.Image), v1.Config{Cmd: []string{"other"}})
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: "linux", Architecture: image.HostPlatform().Architecture},
	}})
	if err := remote.WriteIndex(reference, index, remote.WithAuth(&authn.Basic{Username: "alice", Password: "secret"})); err != nil {
		t.Fatal(err)
	}
	digest, err := other.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s.forget()
	return digest.String()
}

// heard is what a command that must not fail prints on standard output and on standard error.
func (s scene) heard(t *testing.T, args ...string) (out, errs string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	out = s.ok(t, args...)
	os.Stderr = stderr
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out, string(said)
}

// meant returns which digest a stub names.
func meant(t *testing.T, stub string) string {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(stub, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, digest, _ := strings.Cut(string(config), "@")
	digest, _, _ = strings.Cut(digest, `"`)
	return digest
}

func (s scene) with(variables ...string) scene {
	s.env = slices.Concat(s.env, variables)
	return s
}

// A stub names an image by the digest that the policy leads to, and says if a tag has moved.
func TestStubPull(t *testing.T) {
	s, r := newScene(t), serveRegistry(t, false)
	tag, old := r.host+"/a/b:1", here(t).String()

	// Before the image is in a store, the registry is asked; only never makes that an error.
	if out := s.ok(t, "stub", tag); meant(t, out) != old || len(r.requests) == 0 {
		t.Errorf("stub %s with %v", out, r.requests)
	}
	r.forget()
	if _, err := s.call(t, "stub", "--pull", "never", tag); !errors.Is(err, errNotHere) || len(r.requests) != 0 {
		t.Errorf("never: %v with %v", err, r.requests)
	}
	if _, err := s.with("OCISHIM_PULL=sometimes").call(t, "stub", tag); err == nil || err.Error() != `OCISHIM_PULL "sometimes": choose missing, always or never` {
		t.Error(err)
	}

	// What a store has costs no request, unless it is asked for.
	s.ok(t, "pull", tag)
	moved := r.move(t)
	for _, call := range [][]string{{"stub", tag}, {"stub", "--pull=never", tag}, {"stub", tag + "@" + old}, {"stub", "--pull=always", tag + "@" + old}} {
		if out, said := s.heard(t, call...); meant(t, out) != old || said != "" {
			t.Errorf("%q: %s, %q", call, meant(t, out), said)
		}
	}
	if n := r.count("GET /v2/a/b/manifests/1") + r.count("HEAD /v2/a/b/manifests/1"); n != 0 {
		t.Errorf("%d requests for what is there: %v", n, r.requests)
	}
	config, err := os.ReadFile(filepath.Join(s.ok(t, "stub", "--pull", "never", tag), "config.json"))
	if err != nil || !strings.Contains(string(config), `"org.ocishim.pull": "never"`) {
		t.Errorf("%s, %v: the job may pull", config, err)
	}

	// Within a job a tag means what it meant at first.
	job := s.with("SLURM_JOB_ID=7", "SLURM_CLUSTER_NAME=c")
	if out, said := job.heard(t, "stub", tag); meant(t, out) != old || said != "" {
		t.Errorf("job: %s, %q", meant(t, out), said)
	}
	line := "docker://" + tag + " now means " + moved + ", and meant " + old + " before"
	if out, said := s.with("OCISHIM_PULL=always").heard(t, "stub", tag); meant(t, out) != moved || said != "ocishim-image: note: "+line+"\n" {
		t.Errorf("always: %s, %q", meant(t, out), said)
	}
	if out, said := job.heard(t, "stub", "--pull", "always", tag); meant(t, out) != old || said != "ocishim-image: note: "+line+"; this job keeps the latter\n" {
		t.Errorf("always in the job: %s, %q", meant(t, out), said)
	}
	if out := s.with("SLURM_JOB_ID=8", "SLURM_CLUSTER_NAME=c").ok(t, "stub", "--pull", "always", tag); meant(t, out) != moved {
		t.Errorf("the next job: %s", meant(t, out))
	}
	if out := s.with("SLURM_JOB_ID=8", "SLURM_CLUSTER_NAME=c").ok(t, "stub", tag); meant(t, out) != moved {
		t.Errorf("the next job again: %s", meant(t, out))
	}

	// A pull that gives a tag another meaning says so, once.
	if out, said := s.heard(t, "pull", tag); out != moved || !strings.Contains(said, line) {
		t.Errorf("pull: %s, %q", out, said)
	}
	if _, said := s.heard(t, "pull", tag); strings.Contains(said, "note:") {
		t.Errorf("pull again: %q", said)
	}
}

// A layout costs no request, so it is looked at each time; a bundle is its own stub.
func TestStubOfFiles(t *testing.T) {
	s, dir := newScene(t), newLayout(t)
	s.ok(t, "pull", "oci:"+dir+":tag")
	if err := os.Remove(filepath.Join(dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.call(t, "stub", "oci:"+dir+":tag"); err == nil {
		t.Error("a layout that is gone has a stub")
	}
	if out := s.ok(t, "stub", "--pull", "never", "oci:"+dir+":tag"); meant(t, out) == "" {
		t.Error("the store has it")
	}
	if err := os.Mkdir(filepath.Join(s.home, "bundle"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.home, "bundle", "config.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.ok(t, "stub", "./bundle"); out != filepath.Join(s.home, "bundle") {
		t.Error(out)
	}
}

// A digest stands for the image of a store that has it, whatever that was imported from.
func TestStubByDigest(t *testing.T) {
	s, dir := newScene(t), newLayout(t)
	digest := s.ok(t, "pull", "--format", "tree", "oci:"+dir+":tag")
	path := s.ok(t, "stub", digest)
	if config, err := os.ReadFile(filepath.Join(path, "config.json")); err != nil || !strings.Contains(string(config), digest) {
		t.Errorf("%s: %s, %v", path, config, err)
	}
}
