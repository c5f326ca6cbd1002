package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

const (
	maxTries = 6 // of a request that fails temporarily

	// maxUnreachable is the number of tries for a host that cannot be reached at all: that is
	// more often a typo than a server that is about to start.
	maxUnreachable = 3

	firstDelay = 500 * time.Millisecond
	maxDelay   = 30 * time.Second

	// maxRetryAfter is the longest wait that a server may ask for.
	maxRetryAfter = 3 * time.Minute
)

// A retrier repeats requests that failed temporarily: on status 429 and server errors, after the
// time that the server asks for, and after broken connections. All our requests to a registry may
// be sent twice.
type retrier struct {
	inner http.RoundTripper
	wait  func(context.Context, time.Duration) error
}

// RoundTrip sends a request until it succeeds or the tries are used up, and returns the last answer.
func (t *retrier) RoundTrip(r *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		response, err := t.inner.RoundTrip(r.Clone(r.Context()))
		most := maxTries
		switch {
		case r.Context().Err() != nil:
			return response, err
		case err != nil && permanent(err):
			return nil, err
		case err != nil && unreachable(err):
			most = maxUnreachable
		case err == nil && !temporary(response.StatusCode):
			return response, nil
		}
		delay := backoff(try)
		if response != nil {
			if asked, given := retryAfter(response.Header.Get("Retry-After"), time.Now()); given {
				if asked > maxRetryAfter {
					return response, err
				}
				// Hosts that were given the same time should not all come back at once.
				delay = asked + rand.N(asked/4+time.Second)
			}
		}
		if try == most || r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
			return response, err
		}
		if response != nil {
			response.Body.Close() //nolint:errcheck // nobody reads this answer
		}
		if err := t.wait(r.Context(), delay); err != nil {
			return nil, err
		}
		if r.GetBody != nil {
			again, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = again
		}
	}
}

// backoff returns how long to wait after a try: the limit doubles each time, and the wait is a random
// time between half of it and all of it.
func backoff(try int) time.Duration {
	delay := min(firstDelay<<min(try-1, 10), maxDelay)
	return delay/2 + rand.N(delay/2)
}

func temporary(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// permanent reports whether another try would fail the same way.
func permanent(err error) bool {
	var (
		record      tls.RecordHeaderError
		alert       tls.AlertError
		certificate *tls.CertificateVerificationError
		unknown     x509.UnknownAuthorityError
		dns         *net.DNSError
	)
	return errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &certificate) || errors.As(err, &unknown) ||
		errors.As(err, &dns) && dns.IsNotFound || err.Error() == "http: server gave HTTP response to HTTPS client"
}

func unreachable(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) || err.Error() == "net/http: timeout awaiting response headers" || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ETIMEDOUT)
}

// retryAfter parses the header Retry-After: seconds, or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now)), true
	}
	return 0, false
}

// wait sleeps for the delay, or until the context ends.
func wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the registry: %w", context.Cause(ctx))
	}
}
