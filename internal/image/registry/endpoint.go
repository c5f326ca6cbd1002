package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrBlocked says that registries.conf forbids a registry.
var ErrBlocked = errors.New("blocked registry")

// An endpoint is a place to get an image from: its registry, or a mirror of it.
type endpoint struct {
	host       string // with its port
	repository string
	insecure   bool // accept any certificate, and plain HTTP
	mirror     bool
}

// String returns HOST/REPOSITORY.
func (e endpoint) String() string { return e.host + "/" + e.repository }

// plain reports whether a host may be contacted without TLS: if registries.conf says so, or on
// this host's loopback interface, which nobody else can listen to.
func (e endpoint) plain(host string) bool { return e.insecure || host == e.host && loopback(host) }

// loopback reports whether a name or address, maybe with a port, is on the loopback interface.
func loopback(host string) bool {
	name := hostname(host)
	if address, err := netip.ParseAddr(name); err == nil {
		return address.Unmap().IsLoopback()
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// hostname returns a host without its port.
func hostname(host string) string {
	if inner, rest, found := strings.Cut(strings.TrimPrefix(host, "["), "]"); found && (rest == "" || rest[0] == ':') {
		return inner
	}
	name, _, _ := strings.Cut(host, ":")
	return name
}

// endpoints returns the endpoints for a reference, mirrors first.
func (c conf) endpoints(r image.Reference) ([]endpoint, error) {
	name := r.Registry + "/" + r.Repository
	entry, covered := c.of(name)
	if entry == nil {
		return []endpoint{{host: r.Registry, repository: r.Repository}}, nil
	}
	if entry.Blocked {
		return nil, fmt.Errorf("%w: %s, by %s", ErrBlocked, text.Printable(entry.Prefix), text.Whole(entry.file))
	}
	var all []endpoint
	add := func(location string, insecure, mirror bool) error {
		if location == "" { // the prefix is a wildcard: use the host of the reference
			location = name[:covered]
		}
		host, repository, found := strings.Cut(location+name[covered:], "/")
		if !found || !image.ValidRegistry(host) || repository == "" || strings.Contains(repository, "//") {
			return fmt.Errorf("%s: the location %s is not a registry", text.Whole(entry.file), text.Printable(location))
		}
		all = append(all, endpoint{host: strings.ToLower(host), repository: repository, insecure: insecure, mirror: mirror})
		return nil
	}
	for _, m := range entry.Mirrors {
		if m.takes(r.Digest != "", entry.DigestOnly) && m.Location != "" {
			if err := add(m.Location, m.Insecure, true); err != nil {
				return nil, err
			}
		}
	}
	if err := add(entry.Location, entry.Insecure, false); err != nil {
		return nil, err
	}
	return all, nil
}

// ErrAmbiguous says that a name without a registry may mean images of several registries.
var ErrAmbiguous = errors.New("a name without a registry, which registries.conf lets mean one only (short-name-mode)")

// unambiguous refuses a name that several registries of registries.conf may have, if it says so.
// A site's own list is as the site wants it.
func (c conf) unambiguous(r image.Reference) error {
	if !r.Short || len(r.Search) == 0 || c.ShortNames != enforcing || len(r.Search)+1 != len(c.Unqualified) {
		return nil
	}
	for i, candidate := range r.Candidates() {
		if !strings.EqualFold(candidate.Registry, c.Unqualified[i]) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(c.Unqualified, ", "))
}

// alias returns the image that registries.conf lists as an alias for a name without a registry.
func (c conf) alias(r image.Reference) (image.Reference, bool) {
	if !r.Short {
		return r, false
	}
	target := c.Aliases[strings.TrimPrefix(r.Repository, "library/")]
	if target == "" {
		return r, false
	}
	meant, err := image.ParseReference("docker://"+target, image.Rules{})
	if err != nil {
		return r, false
	}
	r.Registry, r.Repository, r.Short, r.Search = meant.Registry, meant.Repository, false, nil
	return r, true
}
