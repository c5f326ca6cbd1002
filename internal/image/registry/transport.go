package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/ocishim/ocishim/internal/image/credentials"
)

const (
	// dialTime and headerTime bound the wait for a connection and for an answer's header.
	dialTime   = 20 * time.Second
	headerTime = 60 * time.Second

	// A body has to bring windowBytes in each window; a slower connection counts as broken. Only
	// time spent in Read counts.
	window      = 30 * time.Second
	windowBytes = 16 << 10

	maxHeader    = 256 << 10
	maxDocument  = 8 << 20 // bytes of a manifest, a configuration, or any answer but a layer
	maxRedirects = 10
)

// errStalled ends a body that brings too little.
var errStalled = fmt.Errorf("the server sends less than %d KiB in %s", windowBytes>>10, window)

// transport returns a transport for an endpoint and its redirects. It uses the user's proxies and
// the host's certificates, and plain HTTP only where that is allowed.
func (c *Client) transport(ep endpoint) (http.RoundTripper, error) {
	config, err := tlsConfig(c.options.Environment, c.options.Etc, ep)
	if err != nil {
		return nil, err
	}
	return &guard{endpoint: ep, window: c.window, inner: &retrier{wait: c.wait, inner: &http.Transport{
		Proxy:                  proxies(c.options.Environment),
		DialContext:            c.dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialTime,
		ResponseHeaderTimeout:  headerTime,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
		// Digests are of the bytes as sent, and a transfer of a compressed body cannot be resumed.
		DisableCompression: true,
		IdleConnTimeout:    time.Minute,
	}}}, nil
}

// proxies uses http_proxy, https_proxy and no_proxy of the user's environment.
func proxies(e credentials.Environment) func(*http.Request) (*url.URL, error) {
	get := func(lower, upper string) string {
		if value := e.Getenv(lower); value != "" {
			return value
		}
		return e.Getenv(upper)
	}
	config := httpproxy.Config{
		HTTPProxy: get("http_proxy", "HTTP_PROXY"), HTTPSProxy: get("https_proxy", "HTTPS_PROXY"),
		NoProxy: get("no_proxy", "NO_PROXY"),
	}
	choose := config.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
}

// A guard refuses requests and redirects that an endpoint must not cause, and bounds every body.
type guard struct {
	endpoint endpoint
	window   time.Duration
	inner    http.RoundTripper
}

// errPlain says that a password or an image would be sent over the network unencrypted.
var errPlain = errors.New("without TLS, which registries.conf does not allow (insecure = true)")

// A sizeKey is the context's key for the size limit of a body. The default is maxDocument.
type sizeKey struct{}

// RoundTrip sends one request and bounds the body of the answer.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Scheme {
	case "https":
	case "http":
		if !g.endpoint.plain(r.URL.Host) {
			return nil, fmt.Errorf("%s: %w", r.URL.Host, errPlain)
		}
	default:
		return nil, fmt.Errorf("%s: neither https nor http", r.URL.Scheme)
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	response, err := g.inner.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel(err)
		return nil, err
	}
	left, given := r.Context().Value(sizeKey{}).(int64)
	if !given {
		left = maxDocument
	}
	response.Body = &body{ReadCloser: response.Body, ctx: ctx, cancel: cancel, window: g.window, left: left}
	// Readers of the answer must not see the context that is cancelled with the body.
	response.Request = r
	return response, nil
}

// redirect refuses redirects that a registry must not make.
func (g *guard) redirect(r *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if r.URL.Scheme != "https" && (r.URL.Scheme != "http" || !g.endpoint.plain(r.URL.Host)) {
		return fmt.Errorf("a redirect to %s://%s", r.URL.Scheme, r.URL.Host)
	}
	// A remote registry must not direct us to services of this host, or to a cloud's services for
	// its machines, such as the metadata server.
	address, err := netip.ParseAddr(hostname(r.URL.Host))
	if err == nil && (address.Unmap().IsLinkLocalUnicast() || address.IsUnspecified()) || loopback(r.URL.Host) && !loopback(g.endpoint.host) {
		return fmt.Errorf("a redirect to %s", r.URL.Host)
	}
	return nil
}

// A body fails if it is too long or too slow.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	window time.Duration
	left   int64 // bytes that may still come

	waited time.Duration // in this window
	came   int           // bytes in this window
}

func (b *body) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// Try to read one more byte, to see whether the body ends here.
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, errTooLarge
	}
	p = p[:min(int64(len(p)), b.left)]
	began := time.Now()
	timer := time.AfterFunc(b.window, func() { b.cancel(errStalled) })
	n, err := b.ReadCloser.Read(p)
	timer.Stop()
	b.left -= int64(n)
	b.came += n
	b.waited += time.Since(began)
	if err != nil && errors.Is(context.Cause(b.ctx), errStalled) {
		return n, errStalled
	}
	if b.waited > b.window {
		if b.came < windowBytes && err == nil {
			b.cancel(errStalled)
			return n, errStalled
		}
		b.waited, b.came = 0, 0
	}
	return n, err
}

// Close closes the body, and cancels its context.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
