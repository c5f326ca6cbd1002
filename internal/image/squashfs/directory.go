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
	Next   Place  // of the entry after this one
}

// A Place is a place in a directory's listing, from which to continue later. Zero is the beginning.
// Other places have to come from Entry.Next: any other number gives wrong entries or an error. A
// Place has 41 bits.
type Place uint64

// A directory's listing consists of runs of entries. A run has a header of 12 bytes: the number of
// entries less one, the position of the block with their inodes, and the inode number that theirs
// are relative to. An entry has 8 bytes and its name, without an end mark. The listing's size
// includes three bytes for the two entries that are not stored: "." and "..".
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
	left     uint32 // entries of the run that are still to be read
	taken    uint32 // entries of the run that were read
	run      uint32 // position of the run's header
	block    uint32 // position of the block with the run's inodes
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
		return corrupt("no place %d in the directory", at)
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

// start begins at a mark of the directory's index, where a run's header is.
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
	// Positions count from the start of the listing, which begins at dir.offset in its first
	// block.
	offset := int(dir.offset)
	if m.position > 0 {
		offset = int((uint64(dir.offset) + uint64(m.position)) % metadataSize)
	}
	c, err := im.cursorAt(int64(im.super.DirectoryTable)+int64(m.block), offset, int64(im.super.firstAfterDirectory))
	l.cursor, l.position = c, m.position
	return err
}

// errEnd is what Next returns at the end of a directory.
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
		case 1: // entries are sorted
			return 0, fs.ErrNotExist
		}
	}
}

// A mark is an entry of a directory's index: the position of a run in the listing, its block in the
// table, and its first name.
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
