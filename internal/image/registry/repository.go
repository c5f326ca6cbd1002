package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// accepted are the kinds of manifests that we accept. It includes Docker's old schema, so that
// such an image is not reported as missing.
var accepted = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
	string(types.DockerManifestSchema1Signed), string(types.DockerManifestSchema1),
}, ", ")

// A Repository is one image, at the endpoint that has it.
type Repository struct {
	client *Client

	// Reference names the image in the registry that has it, if the site has several.
	Reference image.Reference

	// Descriptor describes the manifest or index that the reference names. Its size is -1 if
	// it is not known.
	Descriptor v1.Descriptor

	// endpoints are all endpoints; the first is the one that answered.
	endpoints []endpoint
	user      string
	open      map[endpoint]*connection
}

// Resolve finds which manifest a reference names. For a tag it sends HEAD, which does not count as
// a pull where pulls are limited; a digest needs no request. The registries of the site are asked
// in order until one has the image. If one cannot be asked, Resolve fails: a later registry may
// have somebody else's image of that name.
func (c *Client) Resolve(ctx context.Context, r image.Reference) (*Repository, error) {
	if alias, found := c.conf.alias(r); found {
		r = alias
	}
	if err := c.conf.unambiguous(r); err != nil {
		return nil, fmt.Errorf("find image %s: %w", text.Printable(r.Familiar()), err)
	}
	err := errNothing
	candidates := r.Candidates()
	for _, candidate := range candidates {
		var found *Repository
		found, err = c.resolve(ctx, candidate, len(candidates) > 1)
		if err == nil {
			return found, nil
		}
		if !errors.Is(err, ErrNotFound) && !isAnonymousRefusal(err) {
			break
		}
	}
	return nil, fmt.Errorf("find image %s: %w", text.Printable(r.Familiar()), err)
}

// isAnonymousRefusal reports whether a registry wants credentials and got none: some answer so for
// images that they do not have.
func isAnonymousRefusal(err error) bool {
	var answer *Error
	return errors.Is(err, ErrDenied) && errors.As(err, &answer) && strings.HasPrefix(answer.Shown, "anonymous")
}

// resolve asks the endpoints of one registry. With others, which means that more registries could
// be tried, it also checks that a digest exists.
func (c *Client) resolve(ctx context.Context, r image.Reference, others bool) (*Repository, error) {
	endpoints, err := c.conf.endpoints(r)
	if err != nil {
		return nil, err
	}
	repository := &Repository{client: c, Reference: r, endpoints: endpoints, user: r.User, open: map[endpoint]*connection{}}
	identifier := r.Tag
	if r.Digest != "" {
		identifier = string(r.Digest)
	}
	if r.Digest != "" && !others {
		digest, err := v1.NewHash(string(r.Digest))
		repository.Descriptor = v1.Descriptor{Digest: digest, Size: -1}
		return repository, err
	}
	var failures []error
	for i, ep := range endpoints {
		descriptor, err := repository.head(ctx, ep, identifier)
		if err == nil && r.Digest != "" && descriptor.Digest.String() != string(r.Digest) {
			err = fmt.Errorf("%s has %s as %s: %w", ep, descriptor.Digest, r.Digest, ErrDigest)
		}
		if err == nil {
			repository.Descriptor = descriptor
			repository.endpoints[0], repository.endpoints[i] = repository.endpoints[i], repository.endpoints[0]
			return repository, nil
		}
		failures = append(failures, err)
	}
	return nil, last(failures)
}

// last returns the error of the registry itself, which comes last, followed by those of its mirrors.
func last(failures []error) error {
	err := failures[len(failures)-1]
	for _, mirror := range failures[:len(failures)-1] {
		err = fmt.Errorf("%w (mirror: %s)", err, mirror.Error())
	}
	return err
}

// connection returns the connection to an endpoint, and connects on first use.
func (r *Repository) connection(ctx context.Context, ep endpoint) (*connection, error) {
	r.client.mutex.Lock()
	defer r.client.mutex.Unlock()
	if connection := r.open[ep]; connection != nil {
		return connection, nil
	}
	connection, err := r.client.connect(ctx, ep, r.user)
	if err == nil {
		r.open[ep] = connection
	}
	return connection, err
}

// head finds out what a tag names now. If the registry does not send the digest as a header, head
// fetches the manifest.
func (r *Repository) head(ctx context.Context, ep endpoint, identifier string) (v1.Descriptor, error) {
	connection, err := r.connection(ctx, ep)
	if err != nil {
		return v1.Descriptor{}, err
	}
	response, err := connection.do(ctx, http.MethodHead, "/manifests/"+identifier)
	if err == nil {
		response.Body.Close() //nolint:errcheck // an answer to HEAD has no body
		digest, err := v1.NewHash(response.Header.Get("Docker-Content-Digest"))
		if err == nil && digest.Algorithm == "sha256" {
			return v1.Descriptor{Digest: digest, Size: response.ContentLength, MediaType: mediaType(response)}, nil
		}
	} else if !wordless(err) {
		return v1.Descriptor{}, err
	}
	data, media, err := connection.document(ctx, "/manifests/"+identifier)
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	return v1.Descriptor{Digest: digest, Size: size, MediaType: media}, err
}

// wordless reports whether to try GET after HEAD failed: an answer to HEAD has no message, and some
// servers do not support HEAD.
func wordless(err error) bool {
	var answer *Error
	return errors.As(err, &answer) && !temporary(answer.Status)
}

// Manifest fetches a manifest or index and verifies its digest and size. It returns the media type
// that the registry sends.
func (r *Repository) Manifest(ctx context.Context, d v1.Descriptor) ([]byte, types.MediaType, error) {
	return r.document(ctx, "/manifests/", d)
}

// Document fetches a whole small blob, such as a configuration.
func (r *Repository) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	data, _, err := r.document(ctx, "/blobs/", d)
	return data, err
}

func (r *Repository) document(ctx context.Context, path string, d v1.Descriptor) ([]byte, types.MediaType, error) {
	failures := []error{}
	for _, ep := range r.endpoints {
		connection, err := r.connection(ctx, ep)
		if err == nil {
			var data []byte
			var media types.MediaType
			data, media, err = connection.document(ctx, path+d.Digest.String())
			if err == nil {
				if err = verify(data, d); err == nil {
					return data, media, nil
				}
				err = fmt.Errorf("%s%s%s: %w", connection.url, path, d.Digest, err)
			}
		}
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		return nil, "", errNothing
	}
	return nil, "", last(failures)
}

// verify compares a document with its descriptor.
func verify(data []byte, d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" {
		return fmt.Errorf("%w: %s is not a SHA-256 digest", ErrDigest, text.Printable(d.Digest.String()))
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != d.Digest.Hex {
		return fmt.Errorf("%w: its content has sha256:%s", ErrDigest, sum)
	}
	if d.Size >= 0 && int64(len(data)) != d.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrDigest, len(data), d.Size)
	}
	return nil
}

// Private reports whether the image needs credentials: it was read with some, and cannot be read
// without.
func (r *Repository) Private(ctx context.Context, manifest v1.Hash) bool {
	ep := r.endpoints[0]
	connection, err := r.connection(ctx, ep)
	if err != nil || !connection.secret {
		return err != nil
	}
	anonymous, err := r.client.handshake(ctx, ep, connection.guard, anonymousUser)
	if err != nil {
		return true
	}
	response, err := anonymous.do(ctx, http.MethodHead, "/manifests/"+manifest.String())
	if err != nil {
		return true
	}
	response.Body.Close() //nolint:errcheck // an answer to HEAD has no body
	return false
}

// do sends a request. Any status but 200 is an error.
func (c *connection) do(ctx context.Context, method, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accepted)
	response, err := c.client.Do(request)
	if err != nil {
		return nil, failure(err, c.shown)
	}
	if err := transport.CheckError(response, http.StatusOK); err != nil {
		response.Body.Close() //nolint:errcheck // the answer is an error
		return nil, failure(err, c.shown)
	}
	return response, nil
}

// document fetches a document, and tries again if the transfer breaks.
func (c *connection) document(ctx context.Context, path string) ([]byte, types.MediaType, error) {
	var failed error
	for range maxTries {
		response, err := c.do(ctx, http.MethodGet, path)
		if err != nil {
			return nil, "", err
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close() //nolint:errcheck // only read from
		if err == nil {
			return data, mediaType(response), nil
		}
		failed = fmt.Errorf("read %s: %w", bareURL(c.url+path), err)
		if ctx.Err() != nil || errors.Is(err, errTooLarge) {
			break
		}
	}
	return nil, "", failed
}

// mediaType returns the media type of an answer, without parameters.
func mediaType(response *http.Response) types.MediaType {
	media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return types.MediaType(strings.TrimSpace(media))
}
