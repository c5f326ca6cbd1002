package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrDigest is registry.ErrDigest: content is not what its digest says, wherever it lies.
var ErrDigest = registry.ErrDigest

// Files are a directory, or the members of an archive. Names are relative, with slashes.
type files interface {
	open(name string) (io.ReadCloser, int64, error)
	io.Closer
}

// A directory is files on disk. No name leads out of it, by links neither.
type directory struct{ root *os.Root }

func openDirectory(path string) (directory, error) {
	root, err := os.OpenRoot(path)
	return directory{root}, err
}

func (d directory) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", text.Printable(name))
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Close ends the use of the directory.
func (d directory) Close() error { return d.root.Close() }

// read returns a file whole, if it is not larger than a document may be.
func read(f files, name string) ([]byte, error) {
	r, _, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrMalformed, text.Printable(name), maxDocument)
	}
	return data, nil
}

// absent reports whether a file is not there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Blobs are files that are named by digest.
type blobs struct {
	files files
	name  func(v1.Hash) string
}

// inLayout is how image-layout.md names a blob.
func inLayout(h v1.Hash) string { return path.Join("blobs", h.Algorithm, h.Hex) }

// inDirectory is how skopeo's dir: names one.
func inDirectory(h v1.Hash) string { return h.Hex }

func (b blobs) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	return b.document(ctx, d)
}

func (b blobs) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Size > maxDocument {
		return nil, fmt.Errorf("%w: a document of %d bytes", ErrMalformed, d.Size)
	}
	r, err := b.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read from
	return io.ReadAll(r)
}

func (b blobs) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("%w: a digest by %s", ErrUnsupported, text.Printable(d.Digest.Algorithm))
	}
	r, size, err := b.files.open(b.name(d.Digest))
	if err != nil {
		if absent(err) && foreign(d) {
			return nil, fmt.Errorf("%w: %s is a foreign layer, which is not there", ErrUnsupported, d.Digest)
		}
		return nil, fmt.Errorf("read blob %s: %w", d.Digest, err)
	}
	if d.Size >= 0 && size != d.Size {
		r.Close() //nolint:errcheck // only read from
		return nil, fmt.Errorf("read blob %s: %w: %d bytes instead of %d", d.Digest, ErrDigest, size, d.Size)
	}
	return &verified{ReadCloser: r, ctx: ctx, digest: d.Digest, sum: sha256.New(), left: size}, nil
}

// A verified reader fails at its end where the bytes are not those of the digest.
type verified struct {
	io.ReadCloser
	ctx    context.Context
	digest v1.Hash
	sum    hash.Hash
	left   int64
}

// Read is the file's, as long as the context is not done.
func (v *verified) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	if v.left -= int64(n); v.left < 0 {
		return 0, fmt.Errorf("read blob %s: %w: it grows", v.digest, ErrDigest)
	}
	if errors.Is(err, io.EOF) {
		if sum := hex.EncodeToString(v.sum.Sum(nil)); sum != v.digest.Hex {
			return 0, fmt.Errorf("read blob %s: %w: it has sha256:%s", v.digest, ErrDigest, sum)
		}
	}
	return n, err
}

// hexOf returns the digest in a name such as HEX.json, sha256:HEX or blobs/sha256/HEX.
func hexOf(name string) (v1.Hash, bool) {
	base, _, _ := strings.Cut(path.Base(name), ".")
	h, err := v1.NewHash("sha256:" + strings.TrimPrefix(base, "sha256:"))
	return h, err == nil
}
