package host

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// An elfFile is a file of the 64-bit format, of which little is read. debug/elf would
// read all symbols for their versions, and trusts what it
// reads.
type elfFile struct {
	f        io.ReaderAt
	size     uint64
	pieces   []elfPiece // that were read last
	arena    *[arenaSize]byte
	used     int // bytes of arena
	order    binary.ByteOrder
	class    elf.Class
	machine  elf.Machine
	kind     elf.Type
	sections []elfSection

	programAt uint64
	programs  int
}

type elfSection struct {
	kind     elf.SectionType
	link     uint32
	at, size uint64
}

// An elfPiece is a part of the file: what is wanted of it is small, and lies together.
type elfPiece struct {
	at   uint64
	data []byte
}

const (
	elfHeader    = 64
	pieceSize    = 4096     // bytes, and pieces begin at multiples of it
	mostPieces   = 16       // that are kept
	arenaSize    = 64 << 10 // bytes
	mostSection  = 16 << 20 // bytes of one
	mostSections = 4096
	mostRecords  = 4096
)

var errNotELF = errors.New("not an ELF file")

// arenas take what is read. A program has a hundred libraries, and memory that is used
// for the first time costs as much as reading.
var arenas = sync.Pool{New: func() any { return new([arenaSize]byte) }}

// release is for when all is read: nothing that e returned refers to its memory.
func (e *elfFile) release() {
	arenas.Put(e.arena)
	*e = elfFile{}
}

// newELF reads the headers. Of a 32-bit file, which only says that it is not meant,
// there is nothing but class and machine.
func newELF(f io.ReaderAt, size int64) (*elfFile, error) {
	e := &elfFile{f: f, size: uint64(size), arena: arenas.Get().(*[arenaSize]byte)}
	if !e.readHeader() {
		e.release()
		return nil, errNotELF
	}
	return e, nil
}

func (e *elfFile) readHeader() bool {
	header := e.read(0, elfHeader)
	if header == nil || string(header[:4]) != elf.ELFMAG {
		return false
	}
	switch elf.Data(header[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		e.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		e.order = binary.BigEndian
	default:
		return false
	}
	e.class = elf.Class(header[elf.EI_CLASS])
	e.kind, e.machine = elf.Type(e.order.Uint16(header[16:])), elf.Machine(e.order.Uint16(header[18:]))
	if e.class == elf.ELFCLASS64 {
		e.programAt, e.programs = e.order.Uint64(header[32:]), int(e.order.Uint16(header[56:]))
		e.readSections(e.order.Uint64(header[40:]), int(e.order.Uint16(header[60:])))
	}
	return true
}

func (e *elfFile) readSections(at uint64, count int) {
	const size = 64 // of Elf64_Shdr
	table := e.read(at, uint64(min(count, mostSections))*size)
	e.sections = make([]elfSection, 0, len(table)/size)
	for ; len(table) >= size; table = table[size:] {
		e.sections = append(e.sections, elfSection{
			kind: elf.SectionType(e.order.Uint32(table[4:])), at: e.order.Uint64(table[24:]),
			size: e.order.Uint64(table[32:]), link: e.order.Uint32(table[40:]),
		})
	}
}

// read returns a part of the file, nil where the file is too short.
func (e *elfFile) read(at, size uint64) []byte {
	if size > mostSection || at > e.size || at+size > e.size {
		return nil
	}
	if size > pieceSize {
		return e.take(at, size)
	}
	for _, p := range e.pieces {
		if at >= p.at && at+size <= p.at+uint64(len(p.data)) {
			return p.data[at-p.at:][:size]
		}
	}
	start := at - at%pieceSize
	end := min((at+size+pieceSize-1)/pieceSize*pieceSize, e.size)
	data := e.take(start, end-start)
	if data == nil {
		return nil
	}
	if len(e.pieces) == mostPieces {
		e.pieces = e.pieces[1:]
	}
	e.pieces = append(e.pieces, elfPiece{start, data})
	return data[at-start:][:size]
}

// take reads that part of the file and no other.
func (e *elfFile) take(at, size uint64) []byte {
	var data []byte
	if free := e.arena[e.used:]; size <= uint64(len(free)) {
		data = free[:size]
		e.used += int(size)
	} else {
		data = make([]byte, size)
	}
	if readAt(e.f, data, int64(at)) < len(data) {
		return nil
	}
	return data
}

// index finds the first section of the kind, or returns -1.
func (e *elfFile) index(kind elf.SectionType) int {
	for i, s := range e.sections {
		if s.kind == kind {
			return i
		}
	}
	return -1
}

// data reads a section; nothing where there is none of that number.
func (e *elfFile) data(i int) []byte {
	if i < 0 || i >= len(e.sections) || e.sections[i].kind == elf.SHT_NOBITS {
		return nil
	}
	return e.read(e.sections[i].at, e.sections[i].size)
}

// text is the string at that offset of a table.
func text(table []byte, at uint64) string {
	if at >= uint64(len(table)) {
		return ""
	}
	s := table[at:]
	if end := bytes.IndexByte(s, 0); end >= 0 {
		s = s[:end]
	}
	return string(s)
}

// name is a string of a section of them. Of a large table few are wanted.
func (e *elfFile) name(section int, at uint64) string {
	if section < 0 || section >= len(e.sections) || at >= e.sections[section].size {
		return ""
	}
	s := e.sections[section]
	for most := uint64(64); ; most *= 8 {
		size := min(s.size-at, most)
		data := e.read(s.at+at, size)
		if bytes.IndexByte(data, 0) >= 0 || size < most || most > maxPath {
			return text(data, 0)
		}
	}
}

// records are the bytes of a section, and the strings that it refers to. What
// lies outside reads as 0, so that every chain ends.
type records struct {
	e       *elfFile
	data    []byte
	strings int // the section of them
	order   binary.ByteOrder
	taken   int
}

func (e *elfFile) records(kind elf.SectionType) *records {
	r := &records{e: e, order: e.order, strings: -1}
	if i := e.index(kind); i >= 0 {
		r.data, r.strings = e.data(i), int(e.sections[i].link)
	}
	return r
}

// bad tells whether there is no end to it.
func (r *records) bad() bool {
	r.taken++
	return r.taken > mostRecords
}

func (r *records) uint16(at int) int {
	if at < 0 || at+2 > len(r.data) {
		return 0
	}
	return int(r.order.Uint16(r.data[at:]))
}

func (r *records) uint32(at int) int {
	if at < 0 || at+4 > len(r.data) {
		return 0
	}
	return int(r.order.Uint32(r.data[at:]))
}

// text is the string whose offset lies at that place.
func (r *records) text(at int) string { return r.e.name(r.strings, uint64(r.uint32(at))) }
