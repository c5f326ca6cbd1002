package squashfs

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// A metaBlock is a decompressed block of metadata, and where the next one begins.
type metaBlock struct {
	bytes []byte
	next  int64
}

// The header of a block of metadata has its length in the image, and a bit for a block that is not
// compressed.
const (
	metaHeaderSize   = 2
	metaUncompressed = 1 << 15
)

// metadata returns the block of metadata at a position, which has to be before end.
func (im *Image) metadata(position, end int64) (metaBlock, error) {
	if position < superblockSize || position >= end {
		return metaBlock{}, corrupt("metadata at %d, outside of its table", position)
	}
	return im.meta.get(position, func() (metaBlock, int64, error) {
		block, err := im.readMetadata(position)
		return block, int64(cap(block.bytes)) + cacheOverhead, err
	})
}

// cacheOverhead is about how many bytes a cached block costs beside its content.
const cacheOverhead = 256

func (im *Image) readMetadata(position int64) (metaBlock, error) {
	buf := im.buffer.get()
	defer im.buffer.put(buf)
	raw := (*buf)[:min(metaHeaderSize+metadataSize, int64(im.super.Size)-position, int64(len(*buf)))]
	if len(raw) < metaHeaderSize {
		return metaBlock{}, corrupt("metadata at %d, at the end of the image", position)
	}
	if _, err := im.file.ReadAt(raw, position); err != nil {
		return metaBlock{}, fmt.Errorf("read metadata at %d: %w", position, truncated(err))
	}
	header := binary.LittleEndian.Uint16(raw)
	length := int(header &^ metaUncompressed)
	if length == 0 || length > len(raw)-metaHeaderSize {
		return metaBlock{}, corrupt("metadata at %d of %d bytes", position, length)
	}
	raw = raw[metaHeaderSize : metaHeaderSize+length]
	block := metaBlock{next: position + metaHeaderSize + int64(length)}
	if header&metaUncompressed != 0 {
		block.bytes = append([]byte(nil), raw...)
		return block, nil
	}
	block.bytes = make([]byte, metadataSize)
	n, err := im.codec.decompress(block.bytes, raw)
	if err != nil || n == 0 {
		return metaBlock{}, corrupt("metadata at %d: %v", position, err)
	}
	block.bytes = block.bytes[:n]
	return block, nil
}

// A cursor reads a table of metadata, across the ends of its blocks.
type cursor struct {
	im    *Image
	block metaBlock
	at    int64 // position of block
	off   int   // offset in block of what is read next
	end   int64 // of the table
}

// cursorAt returns a cursor at an offset in the decompressed block at position.
func (im *Image) cursorAt(position int64, offset int, end int64) (cursor, error) {
	block, err := im.metadata(position, end)
	if err != nil {
		return cursor{}, err
	}
	if offset > len(block.bytes) {
		return cursor{}, corrupt("offset %d in metadata of %d bytes", offset, len(block.bytes))
	}
	return cursor{im: im, block: block, at: position, off: offset, end: end}, nil
}

// more returns what is left of the block, or the next block if nothing is. It is never empty.
func (c *cursor) more() ([]byte, error) {
	if c.off == len(c.block.bytes) {
		next, err := c.im.metadata(c.block.next, c.end)
		if err != nil {
			return nil, err
		}
		c.at, c.off, c.block = c.block.next, 0, next
	}
	return c.block.bytes[c.off:], nil
}

// take returns the next n bytes, which must not be changed. If they cross the end of a block, take
// copies them into scratch or, if that is too small, into new memory.
func (c *cursor) take(n int, scratch []byte) ([]byte, error) {
	if c.off+n <= len(c.block.bytes) {
		c.off += n
		return c.block.bytes[c.off-n : c.off], nil
	}
	out := scratch[:0]
	for len(out) < n {
		rest, err := c.more()
		if err != nil {
			return nil, err
		}
		rest = rest[:min(n-len(out), len(rest))]
		out = append(out, rest...)
		c.off += len(rest)
	}
	return out, nil
}

// skip skips n bytes.
func (c *cursor) skip(n int64) error {
	for n > 0 {
		rest, err := c.more()
		if err != nil {
			return err
		}
		step := min(n, int64(len(rest)))
		c.off += int(step)
		n -= step
	}
	return nil
}

// A bufferPool has buffers for compressed blocks, which are read and then decompressed.
type bufferPool struct {
	size int // a block of data
	pool sync.Pool
}

func (p *bufferPool) get() *[]byte {
	if buf, ok := p.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, max(p.size, metaHeaderSize+metadataSize))
	return &buf
}

func (p *bufferPool) put(buf *[]byte) { p.pool.Put(buf) }
