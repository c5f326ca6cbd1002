package squashfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
)

// An Entry is a member of a directory.
type Entry struct {
	Name   []byte // valid until the next entry is read
	Ref    Ref
	Type   Type
	Number uint32 // of the inode
	Next   Place  // of what comes after it
}

// A Place is one in a directory's listing, for whoever comes back later. Zero is the
// beginning. Other places are what Entry.Next was; any other number gives entries that
// are not there, or an error. It has 41 bits.
type Place uint64

// A directory's listing is runs of entries, each with a header of 12 bytes: how many less
// one, where their inodes' block is, and the number that theirs are told from. An entry
// has 8 bytes, its name, and no end mark. The listing's size counts three bytes that
// stand for the two entries that are not there, . and ...
const (
	runHeaderSize = 12
	entrySize     = 8
	maxRun        = 256
	listingExtra  = 3
	maxName       = 256
)

// A Listing reads a directory.
type Listing struct {
	cursor
	position uint32 // in the listing
	size     uint32 // of the listing
	left     uint32 // entries of the run that are to come
	taken    uint32 // entries of the run that were read
	run      uint32 // position of the run's header
	block    uint32 // of the run's inodes
	number   uint32
	scratch  [maxName]byte
}

// List begins to read a directory at a place.
func (im *Image) List(dir *Inode, at Place) (*Listing, error) {
	l := &Listing{}
	return l, l.begin(im, dir, at)
}

func (l *Listing) begin(im *Image, dir *Inode, at Place) error {
	if dir.Type != Directory {
		return fs.ErrInvalid
	}
	run, taken := uint32(at>>9), uint32(at&(1<<9-1))
	var first mark
	if run > 0 {
		var err error
		if first, err = im.seekIndex(dir, func(m *mark) bool { return m.position <= run }); err != nil {
			return err
		}
	}
	if err := l.start(im, dir, first); err != nil {
		return err
	}
	if run < l.position || run > l.size {
		return corrupt("no place %d in a directory", at)
	}
	if run > l.position {
		if err := l.skip(int64(run - l.position)); err != nil {
			return err
		}
		l.position = run
	}
	for range taken {
		if _, err := l.Next(); err != nil {
			if errors.Is(err, errEnd) {
				return nil
			}
			return err
		}
	}
	return nil
}

// start begins at a mark of the directory's index, which is at a run's header.
func (l *Listing) start(im *Image, dir *Inode, m mark) error {
	if dir.Size > listingExtra {
		l.size = uint32(dir.Size - listingExtra)
	}
	if m.position == 0 {
		m.block = uint32(dir.start)
	}
	if l.size == 0 {
		return nil
	}
	// The listing's bytes from its first block's begin on: within the first block the
	// offset counts.
	offset := int(dir.offset)
	if m.position > 0 {
		offset = int((uint64(dir.offset) + uint64(m.position)) % metadataSize)
	}
	c, err := im.cursorAt(int64(im.super.DirectoryTable)+int64(m.block), offset, int64(im.super.firstAfterDirectory))
	l.cursor, l.position = c, m.position
	return err
}

// errEnd is the end of a directory.
var errEnd = errors.New("end of the directory")

// End reports whether an error of Next is the end of the directory.
func End(err error) bool { return errors.Is(err, errEnd) }

// Next returns the next entry.
func (l *Listing) Next() (Entry, error) {
	le := binary.LittleEndian
	if l.left == 0 {
		if l.size-l.position < runHeaderSize {
			return Entry{}, errEnd
		}
		l.run = l.position
		head, err := l.take(runHeaderSize, l.scratch[:])
		if err != nil {
			return Entry{}, err
		}
		l.left, l.block, l.number = le.Uint32(head), le.Uint32(head[4:]), le.Uint32(head[8:])
		if l.left >= maxRun {
			return Entry{}, corrupt("a directory has %d entries in one piece", uint64(l.left)+1)
		}
		l.left++
		l.position += runHeaderSize
		l.taken = 0
	}
	if l.size-l.position < entrySize {
		return Entry{}, corrupt("a directory ends within an entry")
	}
	head, err := l.take(entrySize, l.scratch[:])
	if err != nil {
		return Entry{}, err
	}
	e := Entry{
		Ref:    Ref(l.block)<<16 | Ref(le.Uint16(head)),
		Number: l.number + uint32(int32(int16(le.Uint16(head[2:])))),
		Type:   Type(le.Uint16(head[4:])),
	}
	length := int(le.Uint16(head[6:])) + 1
	if e.Type == 0 || e.Type > Socket {
		return Entry{}, corrupt("a directory has an entry of type %d", e.Type)
	}
	if length > maxName || l.size-l.position-entrySize < uint32(length) {
		return Entry{}, corrupt("a directory has a name of %d bytes", length)
	}
	if e.Name, err = l.take(length, l.scratch[:]); err != nil {
		return Entry{}, err
	}
	if bytes.IndexByte(e.Name, '/') >= 0 || bytes.IndexByte(e.Name, 0) >= 0 || string(e.Name) == "." || string(e.Name) == ".." {
		return Entry{}, corrupt("a directory has the name %q", e.Name)
	}
	l.position += entrySize + uint32(length)
	l.left--
	l.taken++
	e.Next = Place(l.run)<<9 | Place(l.taken)
	if l.left == 0 {
		e.Next = Place(l.position) << 9
	}
	return e, nil
}

// Lookup finds the inode of a name in a directory. The error is fs.ErrNotExist if the
// directory does not have the name.
func (im *Image) Lookup(dir *Inode, name []byte) (Ref, error) {
	if dir.Type != Directory {
		return 0, fs.ErrInvalid
	}
	first, err := im.seekIndex(dir, func(m *mark) bool { return bytes.Compare(m.name, name) <= 0 })
	if err != nil {
		return 0, err
	}
	var l Listing
	if err := l.start(im, dir, first); err != nil {
		return 0, err
	}
	for {
		e, err := l.Next()
		if errors.Is(err, errEnd) {
			return 0, fs.ErrNotExist
		}
		if err != nil {
			return 0, err
		}
		switch bytes.Compare(e.Name, name) {
		case 0:
			return e.Ref, nil
		case 1: // they are in order
			return 0, fs.ErrNotExist
		}
	}
}

// A mark is an entry of a directory's index: a run's position in the listing, its block
// in the table, and its first name.
type mark struct {
	position uint32
	block    uint32
	name     []byte
}

// seekIndex returns the last mark of the directory's index before the first for which before
// is false; if there is no such mark, it returns one at the beginning.
func (im *Image) seekIndex(dir *Inode, before func(*mark) bool) (mark, error) {
	found := mark{}
	c := dir.rest
	le := binary.LittleEndian
	var scratch [maxName]byte
	for range dir.indexes {
		head, err := c.take(runHeaderSize, scratch[:])
		if err != nil {
			return mark{}, err
		}
		m := mark{position: le.Uint32(head), block: le.Uint32(head[4:])}
		length := uint64(le.Uint32(head[8:])) + 1
		if length > maxName {
			return mark{}, corrupt("a directory's index has a name of %d bytes", length)
		}
		if m.name, err = c.take(int(length), scratch[:]); err != nil {
			return mark{}, err
		}
		if !before(&m) {
			break
		}
		found = mark{position: m.position, block: m.block}
	}
	return found, nil
}
