package squashfs

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"sync"
)

// The size of a block of data is its length in the image, in 24 bits, and a bit for a block that is
// not compressed. A length of zero is a hole.
const (
	dataUncompressed = 1 << 24
	dataLength       = 1<<24 - 1
)

// A blockKey names a block by its position and its size field.
type blockKey struct {
	position uint64
	size     uint32
}

// ReadAt returns up to n bytes of a file from an offset on, in pieces. The pieces belong to the
// caches and must not be changed. At and after the end of the file, ReadAt returns nothing.
func (im *Image) ReadAt(i *Inode, offset uint64, n int) ([][]byte, error) {
	if i.Type != File {
		return nil, fs.ErrInvalid
	}
	if offset >= i.Size || n <= 0 {
		return nil, nil
	}
	left := min(uint64(n), i.Size-offset)
	size := uint64(im.super.BlockSize)
	pieces := make([][]byte, 0, left/size+2)
	walk := blockWalk{im: im, inode: i}
	for left > 0 {
		number := offset / size
		block, err := im.fileBlock(&walk, number)
		if err != nil {
			return nil, fmt.Errorf("read block %d of inode %d: %w", number, i.Number, err)
		}
		piece := block[offset%size:]
		piece = piece[:min(uint64(len(piece)), left)]
		pieces = append(pieces, piece)
		offset += uint64(len(piece))
		left -= uint64(len(piece))
	}
	return pieces, nil
}

// fileBlock returns a block of a file, and checks its length.
func (im *Image) fileBlock(walk *blockWalk, number uint64) ([]byte, error) {
	i := walk.inode
	size := uint64(im.super.BlockSize)
	want := min(size, i.Size-number*size)
	if number >= i.blocks {
		return im.fragmentOf(i, want)
	}
	key, err := walk.block(number)
	if err != nil {
		return nil, err
	}
	if key.size&dataLength == 0 {
		return im.zeros[:want], nil
	}
	block, err := im.block(key)
	if err != nil {
		return nil, err
	}
	if uint64(len(block)) < want {
		return nil, corrupt("%d bytes instead of %d", len(block), want)
	}
	return block[:want], nil
}

// block returns a decompressed block of a file or of fragments.
func (im *Image) block(key blockKey) ([]byte, error) {
	return im.data.get(key, func() ([]byte, int64, error) {
		block, err := im.readBlock(key)
		return block, int64(cap(block)) + cacheOverhead, err
	})
}

func (im *Image) readBlock(key blockKey) ([]byte, error) {
	length := key.size & dataLength
	if length == 0 || length > im.super.BlockSize {
		return nil, corrupt("a block of %d bytes", length)
	}
	if key.position < superblockSize || key.position > im.super.Size-uint64(length) || uint64(length) > im.super.Size {
		return nil, corrupt("a block at %d, after the end of the image", key.position)
	}
	if key.size&dataUncompressed != 0 {
		block := make([]byte, length)
		_, err := im.file.ReadAt(block, int64(key.position))
		return block, truncated(err)
	}
	buf := im.buffer.get()
	defer im.buffer.put(buf)
	raw := (*buf)[:length]
	if _, err := im.file.ReadAt(raw, int64(key.position)); err != nil {
		return nil, truncated(err)
	}
	block := make([]byte, im.super.BlockSize)
	n, err := im.codec.decompress(block, raw)
	if err != nil {
		return nil, corrupt("%v", err)
	}
	if n < len(block)/2 { // the end of a file: do not keep the unused rest of the buffer
		return append(make([]byte, 0, n), block[:n]...), nil
	}
	return block[:n], nil
}

// fragmentOf returns the end of a file, which shares a block with the ends of other files.
func (im *Image) fragmentOf(i *Inode, want uint64) ([]byte, error) {
	if i.fragment == none {
		return nil, corrupt("a file whose end is missing")
	}
	key, err := im.fragment(i.fragment)
	if err != nil {
		return nil, err
	}
	block, err := im.block(key)
	if err != nil {
		return nil, err
	}
	if uint64(i.offset)+want > uint64(len(block)) {
		return nil, corrupt("%d bytes at %d in a fragment of %d", want, i.offset, len(block))
	}
	return block[i.offset : uint64(i.offset)+want], nil
}

const (
	fragmentSize      = 16 // of an entry in the table of fragments
	fragmentsPerBlock = metadataSize / fragmentSize
	// maxFragments are 32 TiB in blocks of the usual size.
	maxFragments = 1 << 28
)

// readFragmentIndex reads the positions of the blocks of the table of fragments.
func (im *Image) readFragmentIndex() error {
	if im.super.Fragments == 0 {
		return nil
	}
	if im.super.Fragments > maxFragments {
		return corrupt("%d fragments", im.super.Fragments)
	}
	count := (uint64(im.super.Fragments) + fragmentsPerBlock - 1) / fragmentsPerBlock
	if im.super.FragmentTable > im.super.Size || count*8 > im.super.Size-im.super.FragmentTable {
		return corrupt("%d fragments, but their table ends too early", im.super.Fragments)
	}
	raw := make([]byte, count*8)
	if _, err := im.file.ReadAt(raw, int64(im.super.FragmentTable)); err != nil {
		return fmt.Errorf("read table of fragments: %w", truncated(err))
	}
	im.frags = make([]uint64, count)
	for n := range im.frags {
		im.frags[n] = binary.LittleEndian.Uint64(raw[8*n:])
	}
	return nil
}

// fragment returns the block that holds a fragment.
func (im *Image) fragment(number uint32) (blockKey, error) {
	if number >= im.super.Fragments {
		return blockKey{}, corrupt("fragment %d of %d", number, im.super.Fragments)
	}
	position := im.frags[number/fragmentsPerBlock]
	if position > im.super.Size {
		return blockKey{}, corrupt("fragments at %d", position)
	}
	c, err := im.cursorAt(int64(position), int(number%fragmentsPerBlock)*fragmentSize, int64(im.super.Size))
	if err != nil {
		return blockKey{}, err
	}
	var scratch [fragmentSize]byte
	raw, err := c.take(fragmentSize, scratch[:])
	if err != nil {
		return blockKey{}, err
	}
	return blockKey{position: binary.LittleEndian.Uint64(raw), size: binary.LittleEndian.Uint32(raw[8:])}, nil
}

// A file's list of blocks has only their sizes: the position of a block is the sum of the sizes
// before it. For files with more than markEvery blocks, the sum is remembered at marks of 24
// bytes: at most maxMarks for a file, and for at most maxMarkedFiles files.
const (
	markEvery      = 1024
	maxMarks       = 4096
	maxMarkedFiles = 64
	maxBlocks      = 1 << 28
)

// A blockMark says where in the list the size of a block is, and where the block itself is.
type blockMark struct {
	meta     int64 // position of the block of metadata with this part of the list
	off      int   // offset in that block
	position uint64
}

// blockMarks are the marks of a file, as far as it has been read.
type blockMarks struct {
	mu    sync.Mutex
	every uint64 // blocks from one mark to the next
	marks []blockMark
}

// A blockWalk finds the blocks of a file. It is fast for blocks in order.
type blockWalk struct {
	im       *Image
	inode    *Inode
	begun    bool
	next     uint64 // the block whose size is read next
	position uint64 // of that block
	list     cursor
}

// block finds a block by its number, which has to be less than the number of blocks.
func (w *blockWalk) block(number uint64) (blockKey, error) {
	if !w.begun || number < w.next {
		if err := w.begin(number); err != nil {
			return blockKey{}, err
		}
	}
	if err := w.forward(number); err != nil {
		return blockKey{}, err
	}
	var scratch [4]byte
	raw, err := w.list.take(4, scratch[:])
	if err != nil {
		return blockKey{}, err
	}
	key := blockKey{position: w.position, size: binary.LittleEndian.Uint32(raw)}
	w.next++
	w.position += uint64(key.size & dataLength)
	return key, nil
}

// begin goes to the last mark before a block, and adds marks up to it.
func (w *blockWalk) begin(number uint64) error {
	w.begun, w.next, w.position, w.list = true, 0, w.inode.start, w.inode.rest
	if number < markEvery {
		return nil
	}
	marks, err := w.im.marks.get(w.inode.Ref, func() (*blockMarks, int64, error) {
		every := uint64(markEvery)
		for w.inode.blocks/every > maxMarks {
			every *= 2
		}
		return &blockMarks{every: every}, 1, nil
	})
	if err != nil {
		return err
	}
	marks.mu.Lock()
	defer marks.mu.Unlock()
	wanted := number / marks.every
	if have := uint64(len(marks.marks)); wanted > 0 && have > 0 {
		if err := w.jump(marks, min(wanted, have)); err != nil {
			return err
		}
	}
	for uint64(len(marks.marks)) < wanted {
		if err := w.forward(uint64(len(marks.marks)+1) * marks.every); err != nil {
			return err
		}
		marks.marks = append(marks.marks, blockMark{meta: w.list.at, off: w.list.off, position: w.position})
	}
	return nil
}

// jump goes to a mark. The number of the first is 1.
func (w *blockWalk) jump(marks *blockMarks, number uint64) error {
	m := marks.marks[number-1]
	list, err := w.im.cursorAt(m.meta, m.off, int64(w.im.super.DirectoryTable))
	w.next, w.position, w.list = number*marks.every, m.position, list
	return err
}

// forward skips the sizes before that of the block.
func (w *blockWalk) forward(number uint64) error {
	var scratch [4]byte
	for w.next < number {
		rest, err := w.list.more()
		if err != nil {
			return err
		}
		whole := min(uint64(len(rest)/4), number-w.next)
		for n := range whole {
			w.position += uint64(binary.LittleEndian.Uint32(rest[4*n:]) & dataLength)
		}
		w.next += whole
		w.list.off += int(4 * whole)
		if whole == 0 { // the size lies across two blocks of metadata
			raw, err := w.list.take(4, scratch[:])
			if err != nil {
				return err
			}
			w.position += uint64(binary.LittleEndian.Uint32(raw) & dataLength)
			w.next++
		}
	}
	return nil
}
