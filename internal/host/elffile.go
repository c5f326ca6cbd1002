package host

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
)

// An elfFile is a 64-bit ELF file, of which only what the loader uses is read.
// debug/elf would read all symbols for their versions, and trusts its input.
type elfFile struct {
	f       io.ReaderAt
	size    uint64
	order   binary.ByteOrder
	class   elf.Class
	machine elf.Machine
	kind    elf.Type

	segments  []elfSegment
	sectionAt uint64
	most      int          // number of sections; 0 once they are read
	sections  []elfSection // read on demand

	arena  [arenaSize]byte
	used   int        // bytes used in arena
	pieces []elfPiece // pieces read most recently
}

// An elfSegment is a part of the file that is loaded at an address, or describes how to
// load.
type elfSegment struct {
	kind              elf.ProgType
	at, address, size uint64
}

type elfSection struct {
	kind     elf.SectionType
	link     uint32
	flags    elf.SectionFlag
	at, size uint64
}

// An elfPiece is a cached part of the file: the data that is needed is small and close
// together.
type elfPiece struct {
	at   uint64
	data []byte
}

const (
	elfHeader    = 64
	pieceSize    = 4096     // bytes; pieces begin at multiples of it
	mostPieces   = 16       // that are cached
	arenaSize    = 64 << 10 // bytes
	mostSection  = 16 << 20 // bytes of one section
	mostSections = 4096
	mostSegments = 64
	mostRecords  = 4096
)

var errNotELF = errors.New("not an ELF file")

// elfFiles are reused. A program has a hundred libraries, and using new memory costs as
// much as reading.
var elfFiles = sync.Pool{New: func() any { return new(elfFile) }}

// release returns e to the pool: nothing that e returned refers to its memory.
func (e *elfFile) release() {
	e.f, e.used = nil, 0
	e.segments, e.sections, e.pieces = e.segments[:0], e.sections[:0], e.pieces[:0]
	e.sectionAt, e.most = 0, 0
	elfFiles.Put(e)
}

// newELF reads the headers. For a 32-bit file, which callers reject, it reads only
// class and machine.
func newELF(f io.ReaderAt, size int64) (*elfFile, error) {
	e := elfFiles.Get().(*elfFile)
	e.f, e.size = f, uint64(size)
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
		e.readSegments(e.order.Uint64(header[32:]), int(e.order.Uint16(header[56:])))
		e.sectionAt, e.most = e.order.Uint64(header[40:]), min(int(e.order.Uint16(header[60:])), mostSections)
	}
	return true
}

func (e *elfFile) readSegments(at uint64, count int) {
	const size = 56 // of Elf64_Phdr
	table := e.read(at, uint64(min(count, mostSegments))*size)
	for ; len(table) >= size; table = table[size:] {
		switch kind := elf.ProgType(e.order.Uint32(table)); kind {
		case elf.PT_LOAD, elf.PT_DYNAMIC, elf.PT_INTERP:
			e.segments = append(e.segments, elfSegment{
				kind: kind, at: e.order.Uint64(table[8:]), address: e.order.Uint64(table[16:]), size: e.order.Uint64(table[32:]),
			})
		}
	}
}

// segment returns the content of the first segment of a kind; nil if not found.
func (e *elfFile) segment(kind elf.ProgType, most uint64) []byte {
	for _, s := range e.segments {
		if s.kind == kind {
			return e.read(s.at, min(s.size, most))
		}
	}
	return nil
}

// loaded returns the offset in the file of the byte that is loaded at an address, or
// the end of the file, where nothing can be read.
func (e *elfFile) loaded(address uint64) uint64 {
	for _, s := range e.segments {
		if s.kind == elf.PT_LOAD && address >= s.address && address-s.address < s.size {
			return s.at + (address - s.address)
		}
	}
	return e.size
}

// readSections reads the section headers, which the loader does not use.
func (e *elfFile) readSections() {
	if e.most == 0 {
		return
	}
	const size = 64 // of Elf64_Shdr
	table := e.read(e.sectionAt, uint64(e.most)*size)
	e.most = 0
	for ; len(table) >= size; table = table[size:] {
		e.sections = append(e.sections, elfSection{
			kind: elf.SectionType(e.order.Uint32(table[4:])), at: e.order.Uint64(table[24:]),
			flags: elf.SectionFlag(e.order.Uint64(table[8:])), size: e.order.Uint64(table[32:]), link: e.order.Uint32(table[40:]),
		})
	}
}

// read returns a part of the file, nil if the file is too short.
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
		e.pieces = slices.Delete(e.pieces, 0, 1)
	}
	e.pieces = append(e.pieces, elfPiece{start, data})
	return data[at-start:][:size]
}

// take reads exactly that part of the file.
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

// index returns the first section of the kind, or -1.
func (e *elfFile) index(kind elf.SectionType) int {
	e.readSections()
	for i, s := range e.sections {
		if s.kind == kind {
			return i
		}
	}
	return -1
}

// data reads a section; nil if there is no section with that number.
func (e *elfFile) data(i int) []byte {
	if i < 0 || i >= len(e.sections) || e.sections[i].kind == elf.SHT_NOBITS {
		return nil
	}
	return e.read(e.sections[i].at, e.sections[i].size)
}

// text returns the string at an offset of a table.
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

// A stringTable is the position of a string table in the file.
type stringTable struct{ at, size uint64 }

// name returns a string of a string table. Of a large table only few strings are
// needed.
func (e *elfFile) name(table stringTable, at uint64) string {
	if at >= table.size {
		return ""
	}
	for most := uint64(64); ; most *= 8 {
		size := min(table.size-at, most)
		data := e.read(table.at+at, size)
		if bytes.IndexByte(data, 0) >= 0 || size < most || most > maxPath {
			return text(data, 0)
		}
	}
}

// records are the bytes of a section. Reads outside return 0, so that every chain ends.
type records struct {
	data  []byte
	order binary.ByteOrder
	taken int
}

// bad counts the records and reports whether there are too many.
func (r *records) bad() bool {
	r.taken++
	return r.taken > mostRecords
}

func (r *records) uint32(at int) int {
	if at < 0 || at+4 > len(r.data) {
		return 0
	}
	return int(r.order.Uint32(r.data[at:]))
}
