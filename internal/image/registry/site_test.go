package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/credentials"
)

// A site is a registry that has one image with one layer, and maybe a fault.
type site struct {
	*httptest.Server
	host     string
	blob     []byte
	layer    v1.Descriptor
	manifest v1.Descriptor

	mutex    sync.Mutex
	fault    func(http.ResponseWriter, *http.Request, http.Handler) // or nil
	requests []string
}

// newSite starts a registry on the loopback interface, with TLS if secure.
func newSite(t *testing.T, size int, secure bool) *site {
	t.Helper()
	s := &site{blob: make([]byte, size)}
	if _, err := rand.Read(s.blob); err != nil {
		t.Fatal(err)
	}
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
		fault := s.fault
		s.mutex.Unlock()
		if fault != nil {
			fault(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if secure {
		s.Server = httptest.NewTLSServer(handler)
	} else {
		s.Server = httptest.NewServer(handler)
	}
	t.Cleanup(s.Close)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.host = s.Listener.Addr().String()
	s.layer = s.put(t, inner, s.blob)
	config := s.put(t, inner, []byte(`{}`))
	manifest := fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":2},"layers":[{"digest":%q,"size":%d}]}`, config.Digest, s.layer.Digest, size)
	s.manifest = describe(t, []byte(manifest))
	r := httptest.NewRequest(http.MethodPut, "/v2/x/manifests/1", strings.NewReader(manifest))
	r.Header.Set("Content-Type", string(types.OCIManifestSchema1))
	serve(t, inner, r)
	return s
}

func describe(t *testing.T, data []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{Digest: digest, Size: size}
}

func (s *site) put(t *testing.T, inner http.Handler, data []byte) v1.Descriptor {
	t.Helper()
	d := describe(t, data)
	serve(t, inner, httptest.NewRequest(http.MethodPost, "/v2/x/blobs/uploads/?digest="+d.Digest.String(), bytes.NewReader(data)))
	return d
}

func serve(t *testing.T, h http.Handler, r *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusCreated {
		t.Fatalf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
}

func (s *site) wrong(fault func(http.ResponseWriter, *http.Request, http.Handler)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.fault = fault
}

// count returns how many requests began with the prefix.
func (s *site) count(prefix string) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	n := 0
	for _, r := range s.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// A user is a client that records its waits instead of sleeping.
type user struct {
	*Client
	home   string
	waited []time.Duration
	warned []string
}

// newUser returns a user with a home directory, and with a directory in place of /etc.
func newUser(t *testing.T) *user {
	t.Helper()
	u := &user{home: t.TempDir()}
	u.read(t)
	return u
}

func (u *user) read(t *testing.T, env ...string) {
	t.Helper()
	client, err := New(Options{
		Environment: credentials.Environment{Home: u.home, Env: env}, Etc: filepath.Join(u.home, "etc"),
		Warn: func(w string) { u.warned = append(u.warned, w) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var mutex sync.Mutex
	client.wait = func(ctx context.Context, d time.Duration) error {
		mutex.Lock()
		defer mutex.Unlock()
		u.waited = append(u.waited, d)
		return ctx.Err()
	}
	u.Client = client
}

func (u *user) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(u.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (u *user) resolve(t *testing.T, s string) (*Repository, error) {
	t.Helper()
	r, err := image.ParseReference(s, image.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	return u.Resolve(context.Background(), r)
}

// pull reads the manifest and the blob of a site's image.
func (u *user) pull(t *testing.T, s *site) ([]byte, error) {
	t.Helper()
	r, err := u.resolve(t, s.host+"/x:1")
	if err != nil {
		return nil, err
	}
	if _, _, err := r.Manifest(context.Background(), r.Descriptor); err != nil {
		return nil, err
	}
	return read(r, s.layer)
}

func read(r *Repository, d v1.Descriptor) ([]byte, error) {
	b, err := r.Blob(context.Background(), d)
	if err != nil {
		return nil, err
	}
	defer b.Close() //nolint:errcheck // only read from
	return io.ReadAll(b)
}

func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// A cut breaks the connection after a number of bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left]) //nolint:errcheck // it breaks anyway
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}
