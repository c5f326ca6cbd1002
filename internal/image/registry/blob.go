package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ocishim/ocishim/internal/text"
)

const (
	// maxBreaks is how often the transfer may break without progress bytes in between.
	maxBreaks = 6
	progress  = 1 << 20
)

// Blob begins to read a blob. If the connection breaks, the reader requests the rest, if need be
// from another endpoint. The reader fails at its end if the bytes do not match the digest, and
// never gives more bytes than the size.
func (r *Repository) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" || d.Size < 0 {
		return nil, fmt.Errorf("fetch blob %s: %w: not a SHA-256 digest, or no size", text.Printable(d.Digest.String()), ErrDigest)
	}
	b := &blob{ctx: ctx, repository: r, descriptor: d, sum: sha256.New()}
	if err := b.open(); err != nil {
		return nil, b.failed(err)
	}
	return b, nil
}

// A blob reads a blob. It is for one goroutine at a time.
type blob struct {
	ctx        context.Context
	repository *Repository
	descriptor v1.Descriptor

	body   io.ReadCloser // nil while there is no connection
	offset int64
	sum    hash.Hash
	err    error

	breaks   int
	brokenAt int64 // the offset of the first counted break
}

// Read returns the next bytes, and reconnects if need be.
func (b *blob) Read(p []byte) (int, error) {
	for b.err == nil {
		if b.offset == b.descriptor.Size {
			b.err = b.verify()
			break
		}
		if b.body == nil {
			if err := b.resume(); err != nil {
				b.broke(err)
				continue
			}
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.descriptor.Size-b.offset)])
		b.sum.Write(p[:n])
		b.offset += int64(n)
		if err != nil {
			b.drop(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, b.err
}

// Close ends the reading.
func (b *blob) Close() error {
	if b.err == nil {
		b.err = errors.New("read of a closed blob")
	}
	if b.body == nil {
		return nil
	}
	body := b.body
	b.body = nil
	return body.Close()
}

// verify returns io.EOF if the digest matches, otherwise ErrDigest.
func (b *blob) verify() error {
	if sum := hex.EncodeToString(b.sum.Sum(nil)); sum != b.descriptor.Digest.Hex {
		return b.failed(fmt.Errorf("%w: the data received has sha256:%s", ErrDigest, sum))
	}
	return io.EOF
}

func (b *blob) failed(err error) error {
	return fmt.Errorf("fetch blob %s from %s: %w", b.descriptor.Digest, b.repository.endpoints[0], err)
}

// drop gives up the connection.
func (b *blob) drop(err error) {
	b.body.Close() //nolint:errcheck // it is broken
	b.body = nil
	if b.offset < b.descriptor.Size {
		b.broke(err)
	}
}

// broke counts a broken connection or a failed request for the rest. An error answer of the
// registry is final: it was already retried.
func (b *blob) broke(err error) {
	var answer *Error
	if b.ctx.Err() != nil || errors.As(err, &answer) || errors.Is(err, ErrDigest) {
		b.err = b.failed(err)
		return
	}
	if b.breaks == 0 || b.offset-b.brokenAt >= progress {
		b.breaks, b.brokenAt = 0, b.offset
	}
	if b.breaks++; b.breaks >= maxBreaks {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		b.err = b.failed(fmt.Errorf("%w at byte %d of %d, after %d attempts: %w", ErrBroken, b.offset, b.descriptor.Size, b.breaks, err))
	}
}

// resume waits, a little longer each time, and requests the rest.
func (b *blob) resume() error {
	if err := b.repository.client.wait(b.ctx, backoff(max(1, b.breaks))); err != nil {
		return err
	}
	return b.open()
}

// open requests the blob from the offset on, from one endpoint after the other.
func (b *blob) open() error {
	var failures []error
	for _, ep := range b.repository.endpoints {
		connection, err := b.repository.connection(b.ctx, ep)
		if err == nil {
			if b.body, err = connection.blob(b.ctx, b.descriptor, b.offset); err == nil {
				return nil
			}
		}
		failures = append(failures, err)
		if b.ctx.Err() != nil {
			break
		}
	}
	return last(failures)
}

// blob requests the blob from the offset on.
func (c *connection) blob(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	// The limit also applies to the answer with a new token, which may be longer than a small blob.
	ctx = context.WithValue(ctx, sizeKey{}, max(d.Size, maxDocument))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/blobs/"+d.Digest.String(), nil)
	if err != nil {
		return nil, err
	}
	expected := d.Size
	if offset > 0 {
		// Some servers do not support a range without an end.
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1))
		expected -= offset
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, failure(err, c.shown)
	}
	if response.StatusCode == http.StatusOK {
		expected = d.Size
	}
	err = transport.CheckError(response, http.StatusOK, http.StatusPartialContent)
	switch {
	case err != nil:
		err = failure(err, c.shown)
	case response.StatusCode == http.StatusPartialContent && !continues(response.Header.Get("Content-Range"), offset, d.Size):
		err = fmt.Errorf("requested the bytes from %d on, but the registry sends %s", offset, text.Printable(response.Header.Get("Content-Range")))
	case response.ContentLength >= 0 && response.ContentLength != expected:
		err = fmt.Errorf("%w: %d bytes instead of %d", ErrDigest, response.ContentLength, expected)
	case response.StatusCode == http.StatusOK && offset > 0:
		// The server does not support ranges: skip the bytes that we have.
		_, err = io.CopyN(io.Discard, response.Body, offset)
	}
	if err != nil {
		response.Body.Close() //nolint:errcheck // only read from
		return nil, err
	}
	return response.Body, nil
}

// continues reports whether a Content-Range begins at the offset, and has the size if it gives one.
func continues(contentRange string, offset, size int64) bool {
	span, total, found := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	begins, err := strconv.ParseInt(first, 10, 64)
	return found && err == nil && begins == offset && (total == "*" || total == strconv.FormatInt(size, 10))
}
