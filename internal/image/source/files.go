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

// ErrDigest is registry.ErrDigest, for content anywhere that does not match its digest.
var ErrDigest = registry.ErrDigest

// files are the files in a directory or archive. Names are relative, with slashes.
type files interface {
	open(name string) (io.ReadCloser, int64, error)
	io.Closer
}

// A directory gives files on disk. No name leads out of it, not even by links.
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

// Close closes the directory.
func (d directory) Close() error { return d.root.Close() }

// read returns the content of a file. It fails if the file is larger than maxDocument.
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

// absent reports whether the error says that a file does not exist.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// blobs are files that are named by digest.
type blobs struct {
	files files
	name  func(v1.Hash) string
}

// inLayout returns the name of a blob in an OCI layout (image-layout.md).
func inLayout(h v1.Hash) string { return path.Join("blobs", h.Algorithm, h.Hex) }

// inDirectory returns the name of a blob in a dir: directory of skopeo.
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
			return nil, fmt.Errorf("%w: %s is a foreign layer, and its content is missing", ErrUnsupported, d.Digest)
		}
		return nil, fmt.Errorf("read blob %s: %w", d.Digest, err)
	}
	if d.Size >= 0 && size != d.Size {
		r.Close() //nolint:errcheck // only read from
		return nil, fmt.Errorf("read blob %s: %w: %d bytes instead of %d", d.Digest, ErrDigest, size, d.Size)
	}
	return &verified{ReadCloser: r, ctx: ctx, digest: d.Digest, sum: sha256.New(), left: size}, nil
}

// A verified reader fails at its end if the bytes do not match the digest.
type verified struct {
	io.ReadCloser
	ctx    context.Context
	digest v1.Hash
	sum    hash.Hash
	left   int64
}

// Read reads from the file until the context ends.
func (v *verified) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	if v.left -= int64(n); v.left < 0 {
		return 0, fmt.Errorf("read blob %s: %w: it grew while it was read", v.digest, ErrDigest)
	}
	if errors.Is(err, io.EOF) {
		if sum := hex.EncodeToString(v.sum.Sum(nil)); sum != v.digest.Hex {
			return 0, fmt.Errorf("read blob %s: %w: its content has sha256:%s", v.digest, ErrDigest, sum)
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
