package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// A codec decompresses a block into dst, which has the maximal length of a block, and returns the
// block's length. A longer block is an error. Several goroutines may use a codec at once.
type codec interface {
	decompress(dst, src []byte) (int, error)
}

// The compressions, as the superblock numbers them.
const (
	compressedGzip = 1
	compressedLzma = 2
	compressedLzo  = 3
	compressedXz   = 4
	compressedLz4  = 5
	compressedZstd = 6
)

func newCodec(number uint16, blockSize int) (codec, error) {
	switch number {
	case compressedGzip:
		return &gzipCodec{}, nil
	case compressedXz:
		return &xzCodec{dictionary: uint32(max(blockSize, metadataSize))}, nil
	case compressedLz4:
		return lz4Codec{}, nil
	case compressedZstd:
		return newZstdCodec()
	case compressedLzma, compressedLzo:
		return nil, fmt.Errorf("%w: compressed with %s: make the image again with zstd", ErrUnsupported, map[uint16]string{compressedLzma: "lzma", compressedLzo: "lzo"}[number])
	}
	return nil, fmt.Errorf("%w: compression %d", ErrUnsupported, number)
}

type zstdCodec struct{ decoder *zstd.Decoder }

func newZstdCodec() (codec, error) {
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0), // one per processor
		zstd.WithDecoderMaxMemory(maxBlockSize),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("prepare zstd: %w", err)
	}
	return zstdCodec{decoder}, nil
}

func (c zstdCodec) decompress(dst, src []byte) (int, error) {
	out, err := c.decoder.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return 0, err
	}
	if len(out) > len(dst) {
		return 0, errTooLong
	}
	return len(out), nil
}

type lz4Codec struct{}

func (lz4Codec) decompress(dst, src []byte) (int, error) { return lz4.UncompressBlock(src, dst) }

// A gzipCodec reuses readers, since they are large. What squashfs calls gzip is zlib's format.
type gzipCodec struct{ readers sync.Pool }

func (c *gzipCodec) decompress(dst, src []byte) (int, error) {
	reader, ok := c.readers.Get().(io.ReadCloser)
	if ok {
		if err := reader.(zlib.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
			return 0, err
		}
	} else {
		var err error
		if reader, err = zlib.NewReader(bytes.NewReader(src)); err != nil {
			return 0, err
		}
	}
	n, err := readAll(dst, reader)
	if err == nil {
		c.readers.Put(reader)
	}
	return n, err
}

// An xzCodec makes a reader for each block, and does not reuse it: a corrupt block might leave the
// reader in a bad state.
type xzCodec struct{ dictionary uint32 }

func (c *xzCodec) decompress(dst, src []byte) (int, error) {
	reader, err := xz.NewReader(bytes.NewReader(src), c.dictionary)
	if err != nil {
		return 0, err
	}
	return readAll(dst, reader)
}

var errTooLong = errors.New("longer than a block may be")

// readAll reads r to its end, which has to be within dst.
func readAll(dst []byte, r io.Reader) (int, error) {
	var more [1]byte
	for n := 0; ; {
		rest := dst[n:]
		if len(rest) == 0 {
			rest = more[:]
		}
		m, err := r.Read(rest)
		if n += m; n > len(dst) {
			return 0, errTooLong
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
