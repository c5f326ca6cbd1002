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

// An endpoint is where an image may be had: its registry, or a mirror of it.
type endpoint struct {
	host       string // with its port
	repository string
	insecure   bool // whatever certificate, and without TLS
	mirror     bool
}

// String returns HOST/REPOSITORY.
func (e endpoint) String() string { return e.host + "/" + e.repository }

// plain reports whether a host may be spoken to without TLS: where registries.conf says so,
// and on this host's loopback, which nobody else listens to.
func (e endpoint) plain(host string) bool { return e.insecure || host == e.host && loopback(host) }

// loopback reports whether a host, with a port or without, is this one.
func loopback(host string) bool {
	name := hostname(host)
	if address, err := netip.ParseAddr(name); err == nil {
		return address.Unmap().IsLoopback()
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// hostname takes the port from a host.
func hostname(host string) string {
	if inner, rest, found := strings.Cut(strings.TrimPrefix(host, "["), "]"); found && (rest == "" || rest[0] == ':') {
		return inner
	}
	name, _, _ := strings.Cut(host, ":")
	return name
}

// endpoints lists where a reference's image is to be asked for, mirrors first.
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
		if location == "" { // of a prefix with a wildcard: the host as it was given
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

// alias returns the image that a name without a registry is short for, by registries.conf.
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
