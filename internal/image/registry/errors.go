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

// What a registry's answers come down to, for errors.Is.
var (
	// ErrDenied says that the registry wants credentials, or others.
	ErrDenied = errors.New("access denied")

	// ErrNotFound says that the registry has no such image. Some say ErrDenied instead.
	ErrNotFound = errors.New("no such image")

	// ErrDigest says that content is not what its digest says.
	ErrDigest = errors.New("wrong digest")

	// ErrBroken says that a body ended early, again and again.
	ErrBroken = errors.New("broken connection")
)

var errTooLarge = errors.New("larger than it may be")

// An Error is an answer of a registry that is not what was asked for.
type Error struct {
	URL    string // without its query, which may have a signature
	Status int
	Reason string // what the registry says, made fit for a line; it may be empty

	// Shown says whose credentials the registry was shown, or where none were found.
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

// Is knows ErrDenied and ErrNotFound.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrDenied:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	}
	return false
}

// failure makes a message of what the libraries below return.
func failure(err error, shown string) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return statusError(answer, shown)
	}
	// Its text has the URL with the query.
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

// bareURL is a URL without user and query.
func bareURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return text.Printable(s)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return text.Whole(u.String())
}

// shown says what a registry was shown.
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
