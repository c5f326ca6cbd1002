package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/image"
)

func TestEndpoints(t *testing.T) {
	u := newUser(t)
	u.write(t, "etc/containers/registries.conf", `
unqualified-search-registries = ["a.io", "docker.io"]
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.site:5000/hub"
[[registry.mirror]]
location = "digests.site"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "docker.io/bad"
blocked = true
[[registry]]
prefix = "*.example.com"
insecure = true
[[registry]]
location = "quay.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "quay.site"
`)
	u.write(t, "etc/containers/registries.conf.d/10.conf", "[[registry]]\nprefix = 'moved.io/old'\nlocation = 'new.io/a/b'\n[aliases]\ntools = 'site.io/apps/tools'\n")
	u.write(t, ".config/containers/registries.conf.d/20.conf", "unqualified-search-registries = ['own.io']\n")
	u.read(t)
	if got := u.Unqualified(); len(got) != 1 || got[0] != "own.io" {
		t.Errorf("%q", got)
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for s, want := range map[string]string{
		"ubuntu:1":                  "mirror.site:5000/hub/library/ubuntu docker.io/library/ubuntu",
		"docker.io/x/y" + digest:    "mirror.site:5000/hub/x/y digests.site/x/y docker.io/x/y",
		"docker.io/bad/x":           "blocked registry: docker.io/bad, by " + u.home + "/etc/containers/registries.conf",
		"docker.io/badger/x":        "mirror.site:5000/hub/badger/x docker.io/badger/x",
		"a.b.example.com:5000/x":    "a.b.example.com:5000/x!",
		"example.com/x":             "example.com/x",
		"quay.io/x":                 "quay.io/x",
		"quay.io/x" + digest:        "quay.site/x quay.io/x",
		"moved.io/old/x":            "new.io/a/b/x",
		"moved.io/older/x":          "moved.io/older/x",
		"docker.io/library/tools:1": "mirror.site:5000/hub/library/tools docker.io/library/tools",
		"tools:1":                   "site.io/apps/tools",
	} {
		r, err := image.ParseReference(s, image.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		r, _ = u.conf.alias(r)
		endpoints, err := u.conf.endpoints(r)
		var got []string
		for _, ep := range endpoints {
			text := ep.String()
			if ep.insecure {
				text += "!"
			}
			got = append(got, text)
		}
		if err != nil {
			got = []string{err.Error()}
			if !errors.Is(err, ErrBlocked) {
				t.Error(err)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", s, got, want)
		}
	}
}

func TestWrongConf(t *testing.T) {
	for content, want := range map[string]string{
		"[[registry]\n":                  "registries.conf",
		"[[registry]]\nblocked = true\n": "neither prefix nor location",
		"[[registry]]\nlocation = 1\n":   "registries.conf",
		strings.Repeat("#", maxConf+1):   "larger than",
		"short-name-mode = 'x'\n":        "short-name-mode x: expected enforcing, permissive or disabled",
	} {
		u := newUser(t)
		u.write(t, "etc/containers/registries.conf", content)
		options := u.options
		if _, err := New(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v", content, err)
		}
	}
}

// A name that several registries may have is refused if registries.conf says so; an alias, and the
// site's own list, say which is meant.
func TestShortNames(t *testing.T) {
	const list = "unqualified-search-registries = ['localhost:1', 'localhost:2']\n[aliases]\n'apps/known' = 'localhost:1/apps/known'\n[[registry]]\nprefix = 'localhost:1'\nblocked = true\n"
	for mode, want := range map[string]error{"": ErrBlocked, "permissive": ErrBlocked, "disabled": ErrBlocked, "enforcing": ErrAmbiguous} {
		u := newUser(t)
		u.write(t, "etc/containers/registries.conf", "short-name-mode = '"+mode+"'\ncredential-helpers = ['containers-auth.json', 'own']\n"+list)
		u.read(t)
		for name, c := range map[string]struct {
			rules []string
			is    error
		}{"apps/new:1": {u.Unqualified(), want}, "apps/known:1": {u.Unqualified(), ErrBlocked}, "localhost:1/apps/new:1": {u.Unqualified(), ErrBlocked}, "apps/other:1": {[]string{"localhost:1", "localhost:3"}, ErrBlocked}} {
			r, err := image.ParseReference(name, image.Rules{Registries: c.rules})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Resolve(t.Context(), r); !errors.Is(err, c.is) {
				t.Errorf("%s, %s: %v", mode, name, err)
			}
		}
		if got := u.Client.options.Environment.Helpers; len(got) != 1 || got[0] != "own" {
			t.Errorf("helpers: %q", got)
		}
	}
}

// A mirror that fails in any way is skipped. It gets no credentials that are not for a particular
// registry.
func TestMirrors(t *testing.T) {
	s, mirror := newSite(t, 100, false), newSite(t, 100, false)
	u := newUser(t)
	u.write(t, "etc/containers/registries.conf", fmt.Sprintf("[[registry]]\nlocation = %q\n[[registry.mirror]]\nlocation = %q\n", s.host, mirror.host))
	pair := []string{"APPTAINER_DOCKER_USERNAME=a", "APPTAINER_DOCKER_PASSWORD=s"}
	u.read(t, pair...)
	s.wrong(basic("a", "s"))
	leaked := false
	mirror.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		leaked = leaked || r.Header.Get("Authorization") != ""
		basic("a", "s")(w, r, inner)
	})
	if data, err := u.pull(t, s); err != nil || !bytes.Equal(data, s.blob) || leaked || mirror.count("GET") == 0 {
		t.Errorf("%d bytes, %v, leaked %v", len(data), err, leaked)
	}
	// The mirror has the tag but not the blob, which comes from the registry.
	mirror.wrong(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if isBlob(r) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		s.Config.Handler.ServeHTTP(w, withAuth(r))
	})
	u.read(t, pair...)
	before := s.count("HEAD /v2/x/manifests/1")
	if data, err := u.pull(t, s); err != nil || !bytes.Equal(data, s.blob) || s.count("HEAD /v2/x/manifests/1") != before+1 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	// If both fail, the error names both.
	s.wrong(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNotFound) })
	if _, err := u.pull(t, s); err == nil || !strings.Contains(err.Error(), s.host) || !strings.Contains(err.Error(), mirror.host) {
		t.Errorf("%v", err)
	}
}

func withAuth(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.SetBasicAuth("a", "s")
	return r
}

// The next registry of the site is asked if the first does not have the image, but not if the first
// cannot be asked.
func TestSearch(t *testing.T) {
	first, second, u := newSite(t, 100, false), newSite(t, 100, false), newUser(t)
	r, err := image.ParseReference("x/y:1", image.Rules{Registries: []string{first.host, second.host}})
	if err != nil {
		t.Fatal(err)
	}
	r.Repository = "x"
	if found, err := u.Resolve(context.Background(), r); err != nil || found.Reference.Registry != first.host {
		t.Errorf("%+v, %v", found, err)
	}
	first.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if found, err := u.Resolve(context.Background(), r); err != nil || found.Reference.Registry != second.host || found.Descriptor.Digest != second.manifest.Digest {
		t.Errorf("%+v, %v", found, err)
	}
	byDigest := r
	byDigest.Digest = image.Digest(second.manifest.Digest.String())
	if found, err := u.Resolve(context.Background(), byDigest); err != nil || found.Reference.Registry != second.host {
		t.Errorf("%+v, %v", found, err)
	}
	for name, status := range map[string]int{"refuses": http.StatusForbidden, "fails": http.StatusInternalServerError} {
		first.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(status)
				return
			}
			inner.ServeHTTP(w, r)
		})
		if _, err := u.Resolve(context.Background(), r); (err == nil) != (name == "refuses") {
			t.Errorf("a registry that %s: %v", name, err)
		}
	}
	first.wrong(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadGateway) })
	if found, err := u.Resolve(context.Background(), r); err == nil {
		t.Errorf("a registry that cannot be asked was passed over for %s", found.Reference)
	}
}
