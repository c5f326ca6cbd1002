package squashfs

import (
	"encoding/binary"
	"time"
)

// A Ref says where an inode is. Its upper bits are the position of a block in the table of inodes,
// its lower 16 bits the offset of the inode in the decompressed block.
type Ref uint64

// MaxRef is the greatest Ref of an image: positions have 32 bits.
const MaxRef Ref = 1<<48 - 1

// A Type is the type of an inode.
type Type uint16

// The types, as squashfs numbers them. In the image, a type with additional fields has a number
// that is higher by seven (extended); here it is the same type.
const (
	Directory Type = 1 + iota
	File
	Symlink
	BlockDevice
	CharDevice
	Fifo
	Socket
	extended = 7
)

// maxTarget is the longest target of a symbolic link that Linux allows, in bytes.
const maxTarget = 4095

// An Inode is an inode of the image, without owner and group.
type Inode struct {
	Ref    Ref
	Type   Type
	Mode   uint16 // the permissions: 12 bits
	Number uint32
	Time   time.Time // of the last change
	Links  uint32
	Size   uint64 // bytes: of a file, of a link's target, of a directory's listing
	Holes  uint64 // of a file: bytes in holes
	Device uint32 // of a device: as Linux encodes it for user space, in 32 bits

	parent uint32 // of a directory: the inode number of its parent
	start  uint64 // of a file: the position of its first block; of a directory: of its listing's block in the table
	offset uint32 // of a directory: of the listing in that block; of a file: of its end in the fragment's block
	// fragment is the number of the fragment with the last, partial block of a file, or none.
	fragment uint32
	blocks   uint64 // of a file: the number of blocks
	indexes  uint16 // of a directory: the number of entries in its index
	rest     cursor // at what follows the inode: sizes of blocks, target or index
}

// Parent returns the inode number of a directory's parent. It is unverified and only for display.
func (i *Inode) Parent() uint32 { return i.parent }

// body has, by type number, the length of the fixed fields that follow an inode's header.
var body = [...]int{1: 16, 2: 16, 3: 8, 4: 8, 5: 8, 6: 4, 7: 4, 8: 24, 9: 40, 10: 8, 11: 12, 12: 12, 13: 8, 14: 8}

// Inode reads the inode at ref.
func (im *Image) Inode(ref Ref) (Inode, error) {
	if ref > MaxRef {
		return Inode{}, corrupt("inode at %#x", uint64(ref))
	}
	c, err := im.cursorAt(int64(im.super.InodeTable)+int64(ref>>16), int(ref&0xffff), int64(im.super.DirectoryTable))
	if err != nil {
		return Inode{}, err
	}
	var scratch [40]byte
	head, err := c.take(16, scratch[:])
	if err != nil {
		return Inode{}, err
	}
	le := binary.LittleEndian
	kind := le.Uint16(head)
	i := Inode{Ref: ref, Mode: le.Uint16(head[2:]) & 0o7777, Time: time.Unix(int64(le.Uint32(head[8:])), 0), Number: le.Uint32(head[12:]), Links: 1, fragment: none}
	if kind == 0 || int(kind) >= len(body) {
		return Inode{}, corrupt("inode of type %d", kind)
	}
	b, err := c.take(body[kind], scratch[:])
	if err != nil {
		return Inode{}, err
	}
	i.Type = Type(kind)
	if i.Type > Socket {
		i.Type -= extended
	}
	i.decode(kind, b)
	i.rest = c
	return i, i.check(im)
}

// decode decodes the fixed fields after the header.
func (i *Inode) decode(kind uint16, b []byte) {
	le := binary.LittleEndian
	switch i.Type {
	case Directory:
		if kind == uint16(Directory) {
			i.start, i.Links, i.Size, i.offset, i.parent = uint64(le.Uint32(b)), le.Uint32(b[4:]), uint64(le.Uint16(b[8:])), uint32(le.Uint16(b[10:])), le.Uint32(b[12:])
			return
		}
		i.Links, i.Size, i.start, i.parent = le.Uint32(b), uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:])), le.Uint32(b[12:])
		i.indexes, i.offset = le.Uint16(b[16:]), uint32(le.Uint16(b[18:]))
	case File:
		if kind == uint16(File) {
			i.start, i.fragment, i.offset, i.Size = uint64(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:]), uint64(le.Uint32(b[12:]))
			return
		}
		i.start, i.Size, i.Holes, i.Links = le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint32(b[24:])
		i.fragment, i.offset = le.Uint32(b[28:]), le.Uint32(b[32:])
	case Symlink:
		i.Links, i.Size = le.Uint32(b), uint64(le.Uint32(b[4:]))
	case BlockDevice, CharDevice:
		i.Links, i.Device = le.Uint32(b), le.Uint32(b[4:])
	default:
		i.Links = le.Uint32(b)
	}
}

// check refuses impossible values, and sets the number of a file's blocks.
func (i *Inode) check(im *Image) error {
	switch i.Type {
	case File:
		size := uint64(im.super.BlockSize)
		i.blocks = i.Size / size
		if i.fragment == none && i.Size%size != 0 {
			i.blocks++
		}
		// This bounds the time to find a block in a hostile file.
		if i.blocks > maxBlocks || i.Size > 1<<62 {
			return corrupt("a file of %d bytes", i.Size)
		}
		if i.fragment != none && i.fragment >= im.super.Fragments {
			return corrupt("fragment %d of %d", i.fragment, im.super.Fragments)
		}
		i.Holes = min(i.Holes, i.Size)
	case Symlink:
		if i.Size == 0 || i.Size > maxTarget {
			return corrupt("a symbolic link to %d bytes", i.Size)
		}
	}
	return nil
}

// Target returns the target of a symbolic link.
func (im *Image) Target(i *Inode) ([]byte, error) {
	if i.Type != Symlink {
		return nil, corrupt("not a symbolic link")
	}
	c := i.rest
	target, err := c.take(int(i.Size), nil)
	if err != nil {
		return nil, err
	}
	for _, b := range target {
		if b == 0 {
			return nil, corrupt("a symbolic link with a zero byte")
		}
	}
	return target, nil
}
