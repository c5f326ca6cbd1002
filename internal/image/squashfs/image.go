// Package squashfs reads images in the squashfs 4.0 format, as Linux defines it in
// fs/squashfs/squashfs_fs.h and as mksquashfs and sqfstar write it. It is made for a server
// that reads one image for many clients at once.
//
// The image is untrusted: every position, size and count is checked against the file or its
// tables before use, the format bounds the size of a decompressed block, and Limits bounds
// the memory that is kept. A damaged image gives errors that are ErrCorrupt.
//
// A Ref, the position of an inode in the image, is all that is needed to find the inode, so
// nothing is kept per inode. Directories are searched in place, by their index if they have
// one. Two caches make this cheap, one for blocks of metadata and one for blocks of data. A
// reader that needs a block which another reader is decompressing waits for it.
//
// Owners, extended attributes and the export table are not read: nothing here needs them.
// The compressions gzip, xz, lz4 and zstd are supported; lzo and the old lzma are refused.
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// ErrCorrupt says that an image violates the format.
var ErrCorrupt = errors.New("corrupt squashfs image")

// ErrUnsupported says that an image uses a part of the format that this package does not support.
var ErrUnsupported = errors.New("unsupported squashfs image")

const (
	magic          = 0x73717368 // "hsqs"
	superblockSize = 96
	minBlockSize   = 4 << 10
	maxBlockSize   = 1 << 20
	metadataSize   = 8 << 10 // bytes of a decompressed block of metadata
	none           = ^uint32(0)
)

// Limits bounds the memory that an Image keeps, in bytes.
type Limits struct {
	Data     int64 // decompressed blocks of files
	Metadata int64 // decompressed blocks of inodes and directories
}

// A superblock is the first 96 bytes of an image, in little endian.
type superblock struct {
	Magic               uint32
	Inodes              uint32
	Time                uint32 // when the image was made, in seconds since 1970
	BlockSize           uint32
	Fragments           uint32
	Compression         uint16
	BlockLog            uint16
	Flags               uint16
	IDs                 uint16
	Major, Minor        uint16
	Root                Ref
	Size                uint64 // of the image, without the file's padding
	IDTable             uint64
	XattrTable          uint64
	InodeTable          uint64
	DirectoryTable      uint64
	FragmentTable       uint64
	ExportTable         uint64
	firstAfterDirectory uint64
}

// An Image is an open image. It may be used by any number of goroutines.
type Image struct {
	file   io.ReaderAt
	super  superblock
	codec  codec
	zeros  []byte   // the content of a hole
	frags  []uint64 // positions of the blocks of the table of fragments
	meta   *cache[int64, metaBlock]
	data   *cache[blockKey, []byte]
	marks  *cache[Ref, *blockMarks]
	buffer bufferPool // for compressed blocks
}

// Open opens the image in a file of the given size. It reads the superblock, the index of the table
// of fragments, and the inode of the root directory.
func Open(file io.ReaderAt, size int64, limits Limits) (*Image, error) {
	var raw [superblockSize]byte
	if _, err := file.ReadAt(raw[:], 0); err != nil {
		return nil, fmt.Errorf("read superblock: %w", truncated(err))
	}
	super := decodeSuperblock(raw[:])
	if err := super.check(size); err != nil {
		return nil, err
	}
	im := &Image{
		file:  file,
		super: super,
		zeros: make([]byte, super.BlockSize),
		meta:  newCache[int64, metaBlock](limits.Metadata),
		data:  newCache[blockKey, []byte](limits.Data),
		marks: newCache[Ref, *blockMarks](maxMarkedFiles),
	}
	im.buffer.size = int(super.BlockSize)
	var err error
	if im.codec, err = newCodec(super.Compression, int(super.BlockSize)); err != nil {
		return nil, err
	}
	if err := im.readFragmentIndex(); err != nil {
		return nil, err
	}
	root, err := im.Inode(super.Root)
	if err != nil {
		return nil, fmt.Errorf("read root directory: %w", err)
	}
	if root.Type != Directory {
		return nil, fmt.Errorf("read root directory: %w: not a directory", ErrCorrupt)
	}
	return im, nil
}

func decodeSuperblock(raw []byte) superblock {
	le := binary.LittleEndian
	return superblock{
		Magic: le.Uint32(raw), Inodes: le.Uint32(raw[4:]), Time: le.Uint32(raw[8:]), BlockSize: le.Uint32(raw[12:]),
		Fragments: le.Uint32(raw[16:]), Compression: le.Uint16(raw[20:]), BlockLog: le.Uint16(raw[22:]), Flags: le.Uint16(raw[24:]),
		IDs: le.Uint16(raw[26:]), Major: le.Uint16(raw[28:]), Minor: le.Uint16(raw[30:]), Root: Ref(le.Uint64(raw[32:])),
		Size: le.Uint64(raw[40:]), IDTable: le.Uint64(raw[48:]), XattrTable: le.Uint64(raw[56:]), InodeTable: le.Uint64(raw[64:]),
		DirectoryTable: le.Uint64(raw[72:]), FragmentTable: le.Uint64(raw[80:]), ExportTable: le.Uint64(raw[88:]),
	}
}

// check checks the superblock for a file of the given size, and sets firstAfterDirectory.
func (s *superblock) check(size int64) error {
	switch {
	case s.Magic != magic:
		return fmt.Errorf("%w: it does not begin with hsqs", ErrCorrupt)
	case s.Major != 4 || s.Minor != 0:
		return fmt.Errorf("%w: version %d.%d, not 4.0", ErrUnsupported, s.Major, s.Minor)
	case s.BlockSize < minBlockSize || s.BlockSize > maxBlockSize || bits.OnesCount32(s.BlockSize) != 1 || 1<<min(s.BlockLog, 31) != s.BlockSize:
		return fmt.Errorf("%w: blocks of %d bytes", ErrCorrupt, s.BlockSize)
	case size < 0 || s.Size > uint64(size):
		return fmt.Errorf("%w: its superblock says %d bytes, but it has %d", ErrCorrupt, s.Size, size)
	case s.InodeTable < superblockSize || s.InodeTable >= s.DirectoryTable || s.DirectoryTable > s.Size:
		return fmt.Errorf("%w: its tables are not in order", ErrCorrupt)
	}
	// The table of directories ends where the next table, or its blocks, begin. The positions of
	// other tables are only checked against the file's size.
	s.firstAfterDirectory = s.Size
	for _, table := range []uint64{s.FragmentTable, s.ExportTable, s.IDTable, s.XattrTable} {
		if table >= s.DirectoryTable {
			s.firstAfterDirectory = min(s.firstAfterDirectory, table)
		}
	}
	return nil
}

// Inodes returns the number of inodes, according to the superblock.
func (im *Image) Inodes() uint32 { return im.super.Inodes }

// Size returns the image's size in bytes.
func (im *Image) Size() int64 { return int64(im.super.Size) }

// BlockSize returns the size of files' blocks in bytes: a power of two, at most 1 MiB.
func (im *Image) BlockSize() int { return int(im.super.BlockSize) }

// Root returns the Ref of the root directory.
func (im *Image) Root() Ref { return im.super.Root }

// truncated turns an unexpected end of the file into ErrCorrupt.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrCorrupt)
	}
	return err
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
