package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPull(t *testing.T) {
	s, u := newSite(t, 300_000, false), newUser(t)
	data, err := u.pull(t, s)
	if err != nil || !bytes.Equal(data, s.blob) {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if s.count("HEAD /v2/x/manifests/1") != 1 || s.count("GET /v2/x/manifests/") != 1 || s.count("GET /v2/x/blobs/") != 1 || len(u.waited) > 0 {
		t.Errorf("requests: %q; waited %v", s.requests, u.waited)
	}
	r, err := u.resolve(t, s.host+"/x@"+s.manifest.Digest.String())
	if err != nil || r.Descriptor.Digest != s.manifest.Digest {
		t.Errorf("%+v, %v", r, err)
	}
	if r.Private(context.Background(), s.manifest.Digest) {
		t.Error("private without credentials")
	}
}

// Temporary faults of a registry are retried, and permanent ones give an error that names them.
func TestFaults(t *testing.T) {
	const size = 100_000
	times := func(n int, status int, header string) func(http.ResponseWriter, *http.Request, http.Handler) {
		var mutex sync.Mutex
		left := n
		return func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			mutex.Lock()
			defer mutex.Unlock()
			if left > 0 && isBlob(r) {
				left--
				if header != "" {
					w.Header().Set("Retry-After", header)
				}
				w.WriteHeader(status)
				return
			}
			inner.ServeHTTP(w, r)
		}
	}
	breaking := func(ranges bool, after ...int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if !isBlob(r) || len(after) == 0 {
				inner.ServeHTTP(w, r)
				return
			}
			if !ranges {
				r.Header.Del("Range")
			}
			first := after[0]
			after = after[1:]
			inner.ServeHTTP(&cut{ResponseWriter: w, left: first}, r)
		}
	}
	answer := func(f func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
			if isBlob(r) {
				f(w)
				return
			}
			inner.ServeHTTP(w, r)
		}
	}
	other := bytes.Repeat([]byte("x"), size)
	for name, c := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request, http.Handler)
		err   string
		is    error
		waits int
		least time.Duration // of the first wait
	}{
		"429 twice":           {fault: times(2, 429, "7"), waits: 2, least: 7 * time.Second},
		"429 for too long":    {fault: times(99, 429, "3600"), err: "429 Too Many Requests from http"},
		"500 three times":     {fault: times(3, 500, ""), waits: 3, least: firstDelay / 2},
		"503 by date":         {fault: times(1, 503, inAMinute()), waits: 1, least: 50 * time.Second},
		"500 for ever":        {fault: times(99, 500, ""), err: "500 Internal Server Error", waits: maxTries - 1},
		"404":                 {fault: times(99, 404, ""), err: "404 Not Found", is: ErrNotFound},
		"broken once":         {fault: breaking(true, 40_000), waits: 1},
		"broken thrice":       {fault: breaking(true, 10_000, 20_000, 30_000), waits: 3},
		"broken at its start": {fault: breaking(true, 0, 0), waits: 2},
		"broken, no ranges":   {fault: breaking(false, 40_000, size), waits: 1},
		"broken for ever":     {fault: breaking(true, 10, 10, 10, 10, 10, 10, 10, 10, 10), is: ErrBroken, waits: maxBreaks - 1, err: "at byte 60 of 100000"},
		"another content":     {fault: answer(func(w http.ResponseWriter) { w.Write(other) }), is: ErrDigest, err: "wrong digest"},                                                                  //nolint:errcheck
		"shorter":             {fault: answer(func(w http.ResponseWriter) { w.Write(other[:10]) }), is: ErrDigest, err: "10 bytes instead of 100000"},                                               //nolint:errcheck
		"longer":              {fault: answer(func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100001"); w.Write(append(other, 'x')) }), is: ErrDigest, err: "100001 bytes instead"}, //nolint:errcheck
		"longer, unsaid":      {fault: answer(func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.Write(append(other, 'x')) }), is: ErrDigest},                                                //nolint:errcheck
		"a part of another":   {fault: otherRange, err: "the registry sends"},
	} {
		t.Run(name, func(t *testing.T) {
			s, u := newSite(t, size, false), newUser(t)
			s.wrong(c.fault)
			data, err := u.pull(t, s)
			if c.err == "" && c.is == nil {
				if err != nil || !bytes.Equal(data, s.blob) {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			} else if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v; want %v, %q", err, c.is, c.err)
			}
			if c.err == "" && len(u.waited) != c.waits || c.waits > 0 && len(u.waited) != c.waits {
				t.Errorf("waited %v, want %d times", u.waited, c.waits)
			}
			if len(u.waited) > 0 && u.waited[0] < c.least {
				t.Errorf("waited %v, want at least %v", u.waited, c.least)
			}
		})
	}
}

// otherRange breaks once, and then sends another part than was requested.
func otherRange(w http.ResponseWriter, r *http.Request, inner http.Handler) {
	switch {
	case !isBlob(r):
		inner.ServeHTTP(w, r)
	case r.Header.Get("Range") == "":
		inner.ServeHTTP(&cut{ResponseWriter: w, left: 50}, r)
	default:
		w.Header().Set("Content-Range", "bytes 0-99/100000")
		w.WriteHeader(http.StatusPartialContent)
	}
}

// inAMinute returns a date in the format of HTTP headers.
func inAMinute() string {
	then := time.Unix(time.Now().Unix()+60, 0)
	return then.UTC().Format(http.TimeFormat)
}

// Resuming requests only what is missing.
func TestRanges(t *testing.T) {
	s, u := newSite(t, 100_000, false), newUser(t)
	first := true
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if isBlob(r) && first {
			first = false
			inner.ServeHTTP(&cut{ResponseWriter: w, left: 40_000}, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if data, err := u.pull(t, s); err != nil || !bytes.Equal(data, s.blob) {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	_, span, _ := strings.Cut(s.requests[len(s.requests)-1], "bytes=")
	from, end, found := strings.Cut(span, "-")
	if n, err := strconv.Atoi(from); !found || err != nil || n == 0 || n > 40_000 || end != "99999" {
		t.Errorf("%q", s.requests)
	}
}

// Reading ends with an error if a body brings nothing or never ends.
func TestSlowAndEndless(t *testing.T) {
	s, u := newSite(t, 1000, false), newUser(t)
	u.window = time.Millisecond
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if !isBlob(r) {
			inner.ServeHTTP(w, r)
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	if _, err := u.pull(t, s); !errors.Is(err, ErrBroken) || !errors.Is(err, errStalled) {
		t.Errorf("slow: %v", err)
	}
	u = newUser(t)
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(s.blob); err != nil {
				return
			}
		}
	}
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if r.Method == http.MethodGet && r.URL.Path != "/v2/" {
			endless(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if _, err := u.pull(t, s); !errors.Is(err, errTooLarge) {
		t.Errorf("endless manifest: %v", err)
	}
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if isBlob(r) {
			w.Write(s.blob) //nolint:errcheck // the client hangs up
			endless(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if data, err := u.pull(t, s); err != nil || !bytes.Equal(data, s.blob) {
		t.Errorf("endless behind a blob: %d bytes, %v", len(data), err)
	}
	// The answer to the very first request.
	s.wrong(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.Method == http.MethodGet {
			endless(w, r)
		}
	})
	if _, err := u.pull(t, s); err == nil {
		t.Error("endless everything")
	}
}

// Resolve works if HEAD gives no digest, and a wrong manifest is refused.
func TestManifests(t *testing.T) {
	s, u := newSite(t, 100, false), newUser(t)
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if r, err := u.resolve(t, s.host+"/x:1"); err != nil || r.Descriptor.Digest != s.manifest.Digest {
		t.Errorf("%+v, %v", r, err)
	}
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			w.Write([]byte("{}")) //nolint:errcheck // tested by its reader
			return
		}
		inner.ServeHTTP(w, r)
	})
	r, err := u.resolve(t, s.host+"/x@"+s.manifest.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Manifest(context.Background(), r.Descriptor); !errors.Is(err, ErrDigest) {
		t.Errorf("%v", err)
	}
}

func TestCancel(t *testing.T) {
	s, u := newSite(t, 1000, false), newUser(t)
	ctx, cancel := context.WithCancel(context.Background())
	s.wrong(func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if !isBlob(r) {
			inner.ServeHTTP(w, r)
			return
		}
		w.Write(s.blob[:10]) //nolint:errcheck // the client hangs up
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	r, err := u.resolve(t, s.host+"/x:1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Blob(ctx, s.layer)
	if err != nil {
		return // cancelled before the header came
	}
	defer b.Close() //nolint:errcheck // only read from
	if _, err := io.ReadAll(b); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
