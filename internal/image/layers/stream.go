package layers

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/source"
)

// ErrDigest says that a layer's bytes do not match the image's manifest or configuration.
var ErrDigest = errors.New("digest does not match")

// windowMost bounds a decompressor's memory for previous data, in bytes.
const windowMost = 128 << 20

// A stream is a layer's archive, which is decompressed, limited and hashed while it is read.
type stream struct {
	raw      io.ReadCloser
	unpacked *ahead
	release  func()
	packed   *summed
	plain    *summed
}

// open begins to read a layer. count is called with the number of transported bytes that were read.
func open(ctx context.Context, layer source.Layer, limits Limits, count func(int)) (*stream, error) {
	raw, err := layer.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open layer %s: %w", layer.Digest, err)
	}
	packed := &summed{from: raw, sum: sha256.New(), most: layer.Size, count: count, ctx: ctx}
	if layer.Size <= 0 {
		packed.most = limits.Bytes
	}
	unpacked, release, err := decompress(bufio.NewReaderSize(packed, 1<<18))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read layer %s: %w", layer.Digest, err), raw.Close())
	}
	plain := &summed{from: unpacked, sum: sha256.New(), most: limits.unpacked(packed.most), ctx: ctx}
	return &stream{raw: raw, packed: packed, plain: plain, unpacked: newAhead(plain), release: release}, nil
}

func (s *stream) Close() error {
	err := s.raw.Close() // also ends a read that blocks
	s.unpacked.end()
	s.release()
	return err
}

// finish reads the rest, and compares sizes and digests with what the image says.
func (s *stream) finish(layer source.Layer) error {
	if _, err := io.Copy(io.Discard, s.unpacked); err != nil {
		return fmt.Errorf("read layer %s: %w", layer.Digest, err)
	}
	s.unpacked.end()                                         // so that this goroutine may read s.packed
	if _, err := io.Copy(io.Discard, s.packed); err != nil { // what follows the compressed stream
		return fmt.Errorf("read layer %s: %w", layer.Digest, err)
	}
	if layer.Size > 0 && s.packed.read != layer.Size {
		return fmt.Errorf("layer %s: %w: %d bytes, not %d", layer.Digest, ErrDigest, s.packed.read, layer.Size)
	}
	if got := s.packed.digest(); layer.Digest != "" && got != layer.Digest {
		return fmt.Errorf("layer %s: %w: its content has %s", layer.Digest, ErrDigest, got)
	}
	if got := s.plain.digest(); layer.DiffID != "" && got != layer.DiffID {
		return fmt.Errorf("layer %s: %w: unpacked, its content has %s, not %s", layer.Digest, ErrDigest, got, layer.DiffID)
	}
	return nil
}

// summed counts and hashes what is read, and fails beyond most bytes.
type summed struct {
	ctx   context.Context
	from  io.Reader
	sum   hash.Hash
	read  int64
	most  int64
	count func(int)
}

func (s *summed) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.from.Read(p)
	s.sum.Write(p[:n])
	s.read += int64(n)
	if s.count != nil {
		s.count(n)
	}
	if s.read > s.most {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooMuch, s.most)
	}
	return n, err
}

func (s *summed) digest() image.Digest {
	return image.Digest("sha256:" + hex.EncodeToString(s.sum.Sum(nil)))
}

// decompress finds out the compression from the first bytes, whatever the media type says:
// registries have layers that are called gzip and compressed with zstd.
func decompress(r *bufio.Reader) (unpacked io.Reader, release func(), err error) {
	release = func() {}
	start, err := r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		unpacked, err = gzip.NewReader(r)
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(start):
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderMaxWindow(windowMost), zstd.WithDecoderConcurrency(1)); err == nil {
			unpacked, release = d, d.Close
		}
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")):
		if err = checkXZ(r); err == nil {
			unpacked, err = xz.NewReader(r)
		}
	case bytes.HasPrefix(start, []byte("BZh")):
		unpacked = bzip2.NewReader(r)
	default:
		unpacked = r
	}
	return unpacked, release, err
}

// isSkippable reports whether b begins with a skippable frame of zstd (RFC 8878, 3.1.2).
func isSkippable(b []byte) bool {
	return len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], []byte{0x2a, 0x4d, 0x18})
}

// checkXZ refuses a first block that needs more memory than windowMost: the library allocates
// what the archive asks for, up to 4 GiB. The dictionary's size is the last byte of the filter
// LZMA2 (id 0x21, one byte of properties) in the block's header (xz-file-format, 3.1, 5.3.1).
func checkXZ(r *bufio.Reader) error {
	header, err := r.Peek(12 + 1024)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(header) < 13 {
		return io.ErrUnexpectedEOF
	}
	block := header[12:]
	block = block[:min(len(block), (int(block[0])+1)*4)]
	at := bytes.Index(block, []byte{0x21, 0x01})
	if at < 0 || at+2 >= len(block) {
		return nil // the library reports the error
	}
	bits := block[at+2] & 0x3f
	if size := (2 | uint64(bits)&1) << (bits/2 + 11); bits > 40 || size > windowMost {
		return fmt.Errorf("%w: xz needs a dictionary of %d bytes", ErrTooMuch, size)
	}
	return nil
}
