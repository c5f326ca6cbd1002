package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// basic requires the user and password.
func basic(user, password string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}
}

// tokens is a token server. Each token is valid for some requests; anyone or only one user gets them.
type tokens struct {
	mutex          sync.Mutex
	user, password string // empty for anyone
	each           int    // requests per token
	given, left    int
}

func (s *tokens) serve(w http.ResponseWriter, r *http.Request, inner http.Handler) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.URL.Path == "/token" {
		if u, p, _ := r.BasicAuth(); s.user != "" && (u != s.user || p != s.password) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Query().Get("scope") != "repository:x:pull" {
			http.Error(w, "scope "+r.URL.RawQuery, http.StatusBadRequest)
			return
		}
		s.given++
		s.left = s.each
		json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprint("t", s.given)}) //nolint:errcheck // the client sees it
		return
	}
	if s.left == 0 || r.Header.Get("Authorization") != fmt.Sprint("Bearer t", s.given) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s",scope="repository:x:pull"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication \u001b[2J required"}]}`)) //nolint:errcheck // the client sees it
		return
	}
	s.left--
	inner.ServeHTTP(w, r)
}

func auths(pairs ...string) string {
	list := []string{}
	for _, pair := range pairs {
		host, rest, _ := strings.Cut(pair, " ")
		user, password, _ := strings.Cut(rest, ":")
		list = append(list, fmt.Sprintf(`%q: {"username": %q, "password": %q}`, host, user, password))
	}
	return `{"auths": {` + strings.Join(list, ",") + `}}`
}

func TestAuthentication(t *testing.T) {
	for name, c := range map[string]struct {
		fault   func(http.ResponseWriter, *http.Request, http.Handler)
		auth    string // after the host, in .docker/config.json
		err     string // $HOST and $HOME are replaced
		private bool
	}{
		"basic":               {basic("a", "s"), "a:s", "", true},
		"basic, wrong":        {basic("a", "s"), "a:pa55", "401 Unauthorized from http://$HOST/v2/x/manifests/1: user a of $HOME/.docker/config.json", false},
		"basic, none":         {basic("a", "s"), "", "anonymous; no entry for $HOST in $HOME/.config/containers/auth.json, $HOME/.docker/config.json, $HOME/.config/enroot/.credentials, APPTAINER_DOCKER_USERNAME, OCISHIM_REGISTRY_USERNAME", false},
		"token":               {(&tokens{user: "a", password: "s", each: 100}).serve, "a:s", "", true},
		"token for anybody":   {(&tokens{each: 100}).serve, "", "", false},
		"token, needless":     {(&tokens{each: 100}).serve, "a:s", "", false},
		"tokens that run out": {(&tokens{each: 1}).serve, "", "", false},
		"token, wrong":        {(&tokens{user: "a", password: "s", each: 100}).serve, "a:pa55", "401 Unauthorized from http://$HOST/token: user a of $HOME", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, u := newSite(t, 100, false), newUser(t)
			s.wrong(c.fault)
			if c.auth != "" {
				u.write(t, ".docker/config.json", auths(s.host+" "+c.auth))
			}
			data, err := u.pull(t, s)
			if c.err == "" {
				if err != nil || !bytes.Equal(data, s.blob) {
					t.Fatalf("%d bytes, %v", len(data), err)
				}
				r, err := u.resolve(t, s.host+"/x:1")
				if err != nil || r.Private(context.Background(), s.manifest.Digest) != c.private {
					t.Errorf("private is not %v; %v", c.private, err)
				}
				return
			}
			want := strings.NewReplacer("$HOST", s.host, "$HOME", u.home).Replace(c.err)
			if err == nil || !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pa55") || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%v; want %s", err, want)
			}
		})
	}
}

func TestUserOfReference(t *testing.T) {
	s, u := newSite(t, 100, false), newUser(t)
	s.wrong(basic("b", "2"))
	u.write(t, ".docker/config.json", auths(s.host+" a:1"))
	u.write(t, ".config/enroot/.credentials", "machine "+s.host+" login b password 2\n")
	if _, err := u.resolve(t, s.host+"/x:1"); err == nil {
		t.Error("the first user was let in")
	}
	if _, err := u.resolve(t, "docker://b@"+s.host+"/x:1"); err != nil {
		t.Error(err)
	}
	if _, err := u.resolve(t, "docker://c@"+s.host+"/x:1"); err == nil || !strings.Contains(err.Error(), "no credentials of user c for "+s.host) {
		t.Errorf("%v", err)
	}
}

func TestCheck(t *testing.T) {
	s, u := newSite(t, 100, false), newUser(t)
	s.wrong(basic("a", "s"))
	if err := u.Check(context.Background(), s.host, "a", "s"); err != nil {
		t.Error(err)
	}
	if err := u.Check(context.Background(), s.host, "a", "secret"); !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// The target of a redirect gets no credentials, and some redirects are refused.
func TestRedirects(t *testing.T) {
	s, u := newSite(t, 100, false), newUser(t)
	u.write(t, ".docker/config.json", auths(s.host+" a:s"))
	var seen http.Header
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		w.Write(s.blob) //nolint:errcheck // the client sees it
	}))
	defer storage.Close()
	target := ""
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if isBlob(r) {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
			return
		}
		basic("a", "s")(w, r, inner)
	})
	u.write(t, "etc/containers/registries.conf", fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", s.host))
	u.read(t)
	target = storage.URL + "/blob?signature=secret"
	if data, err := u.pull(t, s); err != nil || !bytes.Equal(data, s.blob) {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if seen.Get("Authorization") != "" || seen.Get("Range") != "" {
		t.Errorf("the storage saw %v", seen)
	}
	storage.Close()
	if _, err := u.pull(t, s); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	for _, target = range []string{"file:///etc/passwd", "ftp://x/y", "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/", s.URL + "/v2/x/blobs/" + s.layer.Digest.String()} {
		if _, err := u.pull(t, s); err == nil || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("%s: %v", target, err)
		}
	}
	// Only a registry on this host may redirect to this host's services.
	g := guard{endpoint: endpoint{host: "registry.example", insecure: true}}
	for _, url := range []string{"http://127.0.0.1:8080/", "https://localhost/", "http://[::1]/", "http://[::ffff:169.254.169.254]/"} {
		r := httptest.NewRequest(http.MethodGet, url, nil)
		if err := g.redirect(r, nil); err == nil {
			t.Errorf("a redirect to %s", url)
		}
	}
	g.endpoint.insecure = false
	if err := g.redirect(httptest.NewRequest(http.MethodGet, "http://registry.example/", nil), nil); err == nil {
		t.Error("a redirect away from TLS")
	}
}

// Plain HTTP is used only where it is allowed, and the certificates in certs.d are used.
func TestTLS(t *testing.T) {
	s, u := newSite(t, 100, true), newUser(t)
	if _, err := u.pull(t, s); err == nil || len(u.waited) > 0 {
		t.Errorf("an unknown authority: %v, waited %v", err, u.waited)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	u.write(t, filepath.Join("etc/containers/certs.d", s.host, "ca.crt"), string(authority))
	if data, err := u.pull(t, s); err != nil || !bytes.Equal(data, s.blob) {
		t.Errorf("certs.d: %d bytes, %v", len(data), err)
	}
	other := newUser(t)
	other.write(t, "etc/containers/registries.conf", fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", s.host))
	other.read(t)
	if _, err := other.pull(t, s); err != nil {
		t.Errorf("insecure: %v", err)
	}
	broken := newUser(t)
	broken.write(t, filepath.Join("etc/docker/certs.d", s.host, "ca.crt"), "no certificate")
	if _, err := broken.pull(t, s); err == nil || !strings.Contains(err.Error(), "it contains no certificate") {
		t.Errorf("%v", err)
	}
	g := guard{endpoint: endpoint{host: "10.0.0.1:5000"}}
	if _, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "http://10.0.0.1:5000/v2/", nil)); !errors.Is(err, errPlain) {
		t.Errorf("without TLS: %v", err)
	}
}

func TestProxies(t *testing.T) {
	s := newSite(t, 100, false)
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		r.URL.Scheme, r.URL.Host = "", ""
		s.Config.Handler.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	u := newUser(t)
	u.write(t, "etc/containers/registries.conf", "[[registry]]\nlocation = 'registry.example'\ninsecure = true\n")
	u.read(t, "http_proxy="+proxy.URL)
	if _, err := u.resolve(t, "registry.example/x:1"); err != nil || len(asked) == 0 || !strings.HasPrefix(asked[0], "http://registry.example/v2/") {
		t.Errorf("%q, %v", asked, err)
	}
	asked = nil
	u.read(t, "HTTP_PROXY="+proxy.URL, "NO_PROXY=127.0.0.0/8")
	if _, err := u.pull(t, s); err != nil || len(asked) > 0 {
		t.Errorf("%q, %v", asked, err)
	}
}
