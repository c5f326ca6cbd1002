package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/text"
)

// Kinds of errors of registries, for errors.Is.
var (
	// ErrDenied says that the registry requires credentials, or refused the ones that it got.
	ErrDenied = errors.New("access denied")

	// ErrNotFound says that the registry has no such image. Some registries answer ErrDenied
	// instead.
	ErrNotFound = errors.New("no such image")

	// ErrDigest says that content does not match its digest.
	ErrDigest = errors.New("wrong digest")

	// ErrBroken says that the connection broke again and again.
	ErrBroken = errors.New("broken connection")
)

var errTooLarge = errors.New("larger than allowed")

// An Error is an error answer of a registry.
type Error struct {
	URL    string // without the query, which may contain a signature
	Status int
	Reason string // the registry's message, as one printable line; it may be empty

	// Shown says whose credentials were sent, or where none were found.
	Shown string
}

// Error returns a line such as
//
//	401 Unauthorized from https://nvcr.io/v2/x/manifests/1: user a of /home/a/.docker/config.json
func (e *Error) Error() string {
	s := strconv.Itoa(e.Status)
	if status := http.StatusText(e.Status); status != "" {
		s += " " + status
	}
	s += " from " + e.URL
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Shown != "" {
		s += ": " + e.Shown
	}
	return s
}

// Is matches ErrDenied and ErrNotFound, by the status.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrDenied:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	}
	return false
}

// failure turns errors of the libraries into an Error, or into one without a URL's query.
func failure(err error, shown string) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return statusError(answer, shown)
	}
	// A url.Error prints the URL with its query, which may contain a secret.
	var request *url.Error
	if errors.As(err, &request) {
		return fmt.Errorf("%s: %w", bareURL(request.URL), request.Err)
	}
	return err
}

func statusError(answer *transport.Error, shown string) *Error {
	e := &Error{Status: answer.StatusCode}
	if answer.Request != nil {
		e.URL = bareURL(answer.Request.URL.String())
	}
	var reasons []string
	for _, d := range answer.Errors {
		if reason := strings.TrimSpace(string(d.Code) + " " + d.Message); reason != "" && len(reasons) < 3 {
			reasons = append(reasons, text.Printable(reason))
		}
	}
	e.Reason = strings.Join(reasons, ", ")
	if e.Is(ErrDenied) || e.Is(ErrNotFound) || e.Status == http.StatusTooManyRequests {
		e.Shown = shown
	}
	return e
}

// bareURL returns a URL without user and query.
func bareURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return text.Printable(s)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return text.Whole(u.String())
}

// shown describes the credentials that were sent to a registry.
func shown(registry string, a credentials.Answer) string {
	if a.Found != nil {
		return a.Found.String()
	}
	if len(a.Looked) == 0 {
		return "anonymous"
	}
	var places []string
	for _, place := range a.Looked {
		places = append(places, text.Whole(place))
	}
	return "anonymous; no entry for " + registry + " in " + strings.Join(places, ", ")
}
