// Package registry fetches manifests and blobs from registries, by distribution-spec 1.1.
// Authentication is go-containerregistry's. This package adds the choice of endpoints
// (containers-registries.conf(5)) and credentials, limits on what a server may send, and resuming
// a transfer where the connection broke.
//
// The registry and the network are untrusted: every byte is verified by a digest, every body has a
// size limit, and credentials go only to the registry and to the token server that it names.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/credentials"
)

// Options say for which user, and with which configuration, a client works.
type Options struct {
	Environment credentials.Environment

	// Etc is the directory of the host's configuration; empty means /etc.
	Etc string

	// Agent is the User-Agent of requests: NAME/VERSION.
	Agent string

	// Warn is called with warnings for the user: one line each, and each only once. It may be
	// nil.
	Warn func(string)
}

// A Client talks to registries for one user.
type Client struct {
	options Options
	conf    conf
	dialer  *net.Dialer

	mutex  sync.Mutex // of warned, and of the connections of repositories
	warned map[string]bool

	// Waiting and time limits; tests shorten them.
	wait   func(context.Context, time.Duration) error
	window time.Duration
}

// New returns a client. It reads registries.conf.
func New(o Options) (*Client, error) {
	if o.Etc == "" {
		o.Etc = "/etc"
	}
	if o.Agent == "" {
		o.Agent = "ocishim"
	}
	conf, err := readConf(o.Environment, o.Etc)
	if err != nil {
		return nil, err
	}
	o.Environment.Helpers = conf.Helpers
	return &Client{
		options: o, conf: conf, dialer: &net.Dialer{Timeout: dialTime}, warned: map[string]bool{},
		wait: wait, window: window,
	}, nil
}

// Unqualified returns the registries to search for names without a registry, by registries.conf.
func (c *Client) Unqualified() []string { return c.conf.Unqualified }

func (c *Client) warn(warnings []string) {
	for _, w := range warnings {
		if !c.warned[w] && c.options.Warn != nil {
			c.options.Warn(w)
		}
		c.warned[w] = true
	}
}

// A connection is a client for one endpoint, with credentials.
type connection struct {
	endpoint endpoint
	guard    http.RoundTripper
	client   *http.Client
	shown    string
	secret   bool // we have credentials for it, and send them if it asks
	url      string
}

// connect finds credentials and authenticates at the endpoint.
func (c *Client) connect(ctx context.Context, ep endpoint, user string) (*connection, error) {
	asked := credentials.Asked{Registry: ep.host, Repository: ep.repository, User: user, Mirror: ep.mirror}
	if ep.mirror {
		asked.User = ""
	}
	answer := c.options.Environment.Find(ctx, asked)
	c.warn(answer.Warnings)
	if asked.User != "" && answer.Found == nil {
		return nil, fmt.Errorf("no credentials of user %s for %s in %s", user, ep.host, strings.Join(answer.Looked, ", "))
	}
	authenticator := anonymousUser
	if f := answer.Found; f != nil {
		authenticator = authn.FromConfig(authn.AuthConfig{
			Username: f.Username, Password: f.Password, IdentityToken: f.IdentityToken, RegistryToken: f.RegistryToken,
		})
	}
	base, err := c.transport(ep)
	if err != nil {
		return nil, err
	}
	connection, err := c.handshake(ctx, ep, base, authenticator)
	if err != nil {
		return nil, failure(err, shown(ep.host, answer))
	}
	connection.shown, connection.secret = shown(ep.host, answer), answer.Found != nil
	return connection, nil
}

func (c *Client) handshake(ctx context.Context, ep endpoint, base http.RoundTripper, authenticator authn.Authenticator) (*connection, error) {
	var options []name.Option
	if ep.plain(ep.host) {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(ep.host, options...)
	if err != nil {
		return nil, err
	}
	base = transport.NewUserAgent(base, c.options.Agent)
	scopes := []string{registry.Repo(ep.repository).Scope(transport.PullScope)}
	authenticated, err := transport.NewWithContext(ctx, registry, authenticator, base, scopes)
	if err != nil {
		return nil, err
	}
	var g guard
	g.endpoint = ep
	scheme := "https"
	if ep.plain(ep.host) {
		scheme = "http" // the transport changes it to https if the registry speaks TLS
	}
	return &connection{
		endpoint: ep, guard: base,
		client: &http.Client{Transport: authenticated, CheckRedirect: g.redirect},
		url:    scheme + "://" + registry.RegistryStr() + "/v2/" + ep.repository,
	}, nil
}

// Check asks a registry whether it accepts a user's password, for login.
func (c *Client) Check(ctx context.Context, registry, user, password string) error {
	r := image.Reference{Kind: image.KindRegistry, Registry: registry, Repository: "x"}
	endpoints, err := c.conf.endpoints(r)
	if err != nil {
		return fmt.Errorf("check credentials for %s: %w", registry, err)
	}
	ep := endpoints[len(endpoints)-1]
	base, err := c.transport(ep)
	if err != nil {
		return fmt.Errorf("check credentials for %s: %w", registry, err)
	}
	err = c.ping(ctx, ep, base, authn.FromConfig(authn.AuthConfig{Username: user, Password: password}))
	if err != nil {
		return fmt.Errorf("check credentials for %s: %w", registry, failure(err, "user "+user))
	}
	return nil
}

// ping requests /v2/ of the registry, which needs no access to a repository.
func (c *Client) ping(ctx context.Context, ep endpoint, base http.RoundTripper, a authn.Authenticator) error {
	connection, err := c.handshake(ctx, ep, base, a)
	if err != nil {
		return err
	}
	root := strings.TrimSuffix(connection.url, ep.repository)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, root, nil)
	if err != nil {
		return err
	}
	response, err := connection.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	return transport.CheckError(response, http.StatusOK)
}

// anonymousUser sends no credentials.
var anonymousUser = authn.Anonymous

// errNothing says that there is no endpoint to ask.
var errNothing = errors.New("no registry to ask")
