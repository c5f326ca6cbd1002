package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/pace"
)

// A listener is a registry that counts requests, and requires a password if it is private.
type listener struct {
	host string

	mu       sync.Mutex
	requests map[string]int // METHOD PATH
	hold     func(path string)
}

func (s *listener) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for request, times := range s.requests {
		if strings.HasPrefix(request, prefix) {
			n += times
		}
	}
	return n
}

func (s *listener) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.requests)
}

// serveRegistry starts a registry that has an index for two platforms as a/b:1.
func serveRegistry(t *testing.T, private bool) *listener {
	t.Helper()
	s := &listener{requests: map[string]int{}}
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if private && (user != "alice" || password != "secret") {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.mu.Lock()
		s.requests[r.Method+" "+r.URL.Path]++
		s.mu.Unlock()
		if s.hold != nil && r.Method == http.MethodGet {
			s.hold(r.URL.Path)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.host = strings.TrimPrefix(web.URL, "http://")
	reference, err := name.ParseReference(s.host + "/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, of(t, "amd64"), of(t, "arm64"))
	login := remote.WithAuth(&authn.Basic{Username: "alice", Password: "secret"})
	if err := remote.WriteIndex(reference, index, login); err != nil {
		t.Fatal(err)
	}
	s.forget()
	return s
}

// here returns the digest of the index's image for this host.
func here(t *testing.T) v1.Hash {
	t.Helper()
	digest, err := of(t, image.HostPlatform().Architecture).Add.(v1.Image).Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// Pulling a tag costs a few requests and prints a digest; a digest that a store has costs none.
func TestPull(t *testing.T) {
	s, r := newScene(t), serveRegistry(t, false)
	tag, digest := r.host+"/a/b:1", here(t).String()
	for range 2 {
		if out := s.ok(t, "pull", tag); out != digest {
			t.Fatalf("pull: %s, not %s", out, digest)
		}
	}
	if n := r.count("GET /v2/a/b/blobs/"); n != 3 { // first configuration and layer, then only the configuration
		t.Errorf("%d requests for blobs: %v", n, r.requests)
	}
	index := s.ok(t, "which", "--json", tag)
	var d decision
	if err := json.Unmarshal([]byte(index), &d); err != nil || d.Kind != image.KindRegistry || d.Reference != "docker://"+tag || string(d.Digest) != digest || d.Store != s.store || d.Imported != d.Reference {
		t.Errorf("which: %s, %v", index, err)
	}
	r.forget()
	for _, name := range []string{digest, r.host + "/a/b@" + digest, r.host + "/other@" + digest, "docker://" + r.host + "/a/b:2@" + digest} {
		if out := s.ok(t, "pull", name); out != digest {
			t.Errorf("pull %s: %s", name, out)
		}
	}
	if out := s.ok(t, "resolve", r.host+"/a/b@"+digest); out != digest {
		t.Errorf("resolve: %s", out)
	}
	if len(r.requests) != 0 {
		t.Errorf("requests for what is there: %v", r.requests)
	}
	if out := s.ok(t, "resolve", tag); out != digest || r.count("GET /v2/a/b/blobs/") != 1 {
		t.Errorf("resolve: %s; %v", out, r.requests)
	}
}

// The digest of an index leads to the image for the platform; the second pull makes no request.
func TestPullIndexByDigest(t *testing.T) {
	s, r := newScene(t), serveRegistry(t, false)
	index := mutate.AppendManifests(empty.Index, of(t, "amd64"), of(t, "arm64"))
	whole, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	arg := r.host + "/a/b@" + whole.String()
	first := s.ok(t, "pull", arg)
	r.forget()
	if second := s.ok(t, "pull", arg); second != first || first != here(t).String() || len(r.requests) != 0 {
		t.Errorf("%s, %s; %v", first, second, r.requests)
	}
	other := "arm64"
	if image.HostPlatform().Architecture == other {
		other = "amd64"
	}
	if out := s.ok(t, "pull", "--platform", other, arg); out == first {
		t.Errorf("for %s: also %s", other, out)
	}
}

// A SIF file is fetched from a registry once, and only if no store has it.
func TestORAS(t *testing.T) {
	s, r := newScene(t), serveRegistry(t, false)
	layer := static.NewLayer(sif(t), "application/vnd.sylabs.sif.layer.v1.sif")
	artifact, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	artifact = mutate.ConfigMediaType(artifact, "application/vnd.sylabs.sif.config.v1+json")
	reference, err := name.ParseReference(r.host + "/x/sif:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, artifact); err != nil {
		t.Fatal(err)
	}
	want, err := artifact.Digest()
	if err != nil {
		t.Fatal(err)
	}
	r.forget()
	for range 2 {
		if out := s.ok(t, "pull", "--platform", "amd64", "oras://"+r.host+"/x/sif:1"); out != want.String() {
			t.Errorf("pull: %s, not %s", out, want)
		}
	}
	if n := r.count("GET /v2/x/sif/blobs/"); n != 1 {
		t.Errorf("%d requests for the file: %v", n, r.requests)
	}
	if out := s.ok(t, "inspect", want.String()); !strings.Contains(out, `"WorkingDir": "/w"`) || !strings.Contains(out, `"format": "sqfs"`) {
		t.Errorf("inspect: %s", out)
	}
	if _, err := s.call(t, "pull", "docker://"+r.host+"/x/sif:1"); err == nil || !strings.Contains(err.Error(), "oras://") {
		t.Errorf("as an image of layers: %v", err)
	}
}

// Names without a registry are looked up in the registries that the site lists; single words
// only with --bare.
func TestSearch(t *testing.T) {
	s, empty, r := newScene(t), serveRegistry(t, false), serveRegistry(t, false)
	digest := s.ok(t, "--registry", r.host, "pull", "a/b:1")
	if out, err := s.call(t, "--registry", empty.host, "--registry", r.host, "inspect", "a/b:1"); err != nil || !strings.Contains(out, digest) {
		t.Errorf("inspect by the second of the registries: %v", err)
	}
	if _, err := s.call(t, "--registry", r.host, "--bare", "pull", "b"); !errors.Is(err, registry.ErrNotFound) || r.count("HEAD /v2/b/manifests/latest") == 0 {
		t.Errorf("a word alone: %v; %v", err, r.requests)
	}
	s.ok(t, "--registry", r.host, "pull", "--name", "mine", "a/b:1")
	for _, verb := range []string{"pull", "which", "inspect"} {
		if out := s.ok(t, verb, "mine"); !strings.Contains(out, digest) {
			t.Errorf("%s by a name of the store: %s", verb, out)
		}
	}
}

// An error of a registry gives the reason, and a hint what to do.
func TestRegistryErrors(t *testing.T) {
	s, r, private := newScene(t), serveRegistry(t, false), serveRegistry(t, true)
	for _, c := range []struct{ arg, want, hint string }{
		{r.host + "/a/b:2", "404 Not Found from http://" + r.host + "/v2/a/b/manifests/2", "check the tag"},
		{private.host + "/a/b:1", "anonymous; no entry for " + private.host + " in", "login"},
		{"127.0.0.1:1/a/b:1", "connection refused", "is running"},
		{"nosuchregistry.invalid/a/b:1", "nosuchregistry.invalid", "name"},
		{"alice@" + r.host + "/a/b:1", "no credentials of user alice", ""},
	} {
		out, err := s.call(t, "pull", c.arg)
		if err == nil || out != "" || !strings.Contains(err.Error(), c.want) || !strings.Contains(hint(err), c.hint) {
			t.Errorf("%s: %q, %v, want %q; hint: %q, want %q", c.arg, out, err, c.want, hint(err), c.hint)
		}
	}
}

// A password is kept once the registry has accepted it. Images that need it do not go into
// stores that everyone can read.
func TestLogin(t *testing.T) {
	s, r := newScene(t), serveRegistry(t, true)
	login := func(password string) error {
		in := filepath.Join(s.home, "password")
		if err := os.WriteFile(in, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(in)
		if err != nil {
			t.Fatal(err)
		}
		stdin := os.Stdin
		os.Stdin = f
		defer func() { os.Stdin = stdin; f.Close() }()
		_, err = s.call(t, "login", "--username", "alice", "--password-stdin", r.host)
		return err
	}
	file := filepath.Join(s.home, ".config", "containers", "auth.json")
	if err := login("wrong"); !errors.Is(err, registry.ErrDenied) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is kept: %v", err)
	}
	if err := login("secret"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Mkdir(s.store, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.call(t, "pull", r.host+"/a/b:1"); !strings.Contains(hint(err), "--share") {
		t.Errorf("a private image in a store that all can read: %v", err)
	}
	if out := s.ok(t, "pull", "--share", r.host+"/a/b:1"); out != here(t).String() {
		t.Errorf("pull: %s", out)
	}
	s.ok(t, "rm", r.host+"/a/b:1")
	s.ok(t, "logout", r.host)
	if _, err := s.call(t, "pull", "--share", r.host+"/a/b:1"); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("after logout: %v", err)
	}
}

// An importer waits for another importer of the same image: each blob is requested once.
func TestTwoPulls(t *testing.T) {
	if os.Getenv("OCISHIM_TEST_PULL") != "" {
		s := scene{user: caller(), store: os.Getenv("OCISHIM_TEST_STORE")}
		s.ok(t, "pull", os.Getenv("OCISHIM_TEST_PULL"))
		return
	}
	s, r := newScene(t), serveRegistry(t, false)
	layers, err := of(t, image.HostPlatform().Architecture).Add.(v1.Image).Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	const both = 2
	r.hold = func(path string) {
		if !strings.HasSuffix(path, layer.String()) {
			return
		}
		// The first one gets the layer once the second one has had time to request it as well.
		pace.Until(10*time.Second, func() bool { return r.count("HEAD /v2/a/b/manifests/1") == both })
		pace.Quiet(time.Second, func() bool { return r.count("GET "+path) == 1 })
	}
	failed := make(chan error)
	for range both {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestTwoPulls$")
		cmd.Env = append(s.env, "OCISHIM_TEST_PULL="+r.host+"/a/b:1", "OCISHIM_TEST_STORE="+s.store)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = errors.New(string(out))
			}
			failed <- err
		}()
	}
	for range both {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if n := r.count("GET /v2/a/b/blobs/" + layer.String()); n != 1 {
		t.Errorf("the layer was asked for %d times: %v", n, r.requests)
	}
}
