package host

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
)

// An elfFile is a file of the 64-bit format, of which little is read. debug/elf would
// read all symbols for their versions, and trusts what it
// reads.
type elfFile struct {
	f        io.ReaderAt
	size     uint64
	start    []byte // of the file: mostly all headers of programs
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
	content  []byte // of a small table of names, when it was read
}

const (
	elfHeader    = 64
	elfStart     = 1024     // bytes that are read at once
	mostSection  = 16 << 20 // bytes of one
	mostSections = 4096
	mostRecords  = 4096
)

var errNotELF = errors.New("not an ELF file")

// newELF reads the headers. Of a 32-bit file, which only says that it is not meant,
// there is nothing but class and machine.
func newELF(f io.ReaderAt, size int64) (*elfFile, error) {
	e := &elfFile{f: f, size: uint64(size), start: make([]byte, elfStart)}
	e.start = e.start[:readAt(f, e.start, 0)]
	if len(e.start) < elfHeader || string(e.start[:4]) != elf.ELFMAG {
		return nil, errNotELF
	}
	switch elf.Data(e.start[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		e.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		e.order = binary.BigEndian
	default:
		return nil, errNotELF
	}
	e.class = elf.Class(e.start[elf.EI_CLASS])
	e.kind, e.machine = elf.Type(e.order.Uint16(e.start[16:])), elf.Machine(e.order.Uint16(e.start[18:]))
	if e.class != elf.ELFCLASS64 {
		return e, nil
	}
	e.programAt, e.programs = e.order.Uint64(e.start[32:]), int(e.order.Uint16(e.start[56:]))
	e.readSections(e.order.Uint64(e.start[40:]), int(e.order.Uint16(e.start[60:])))
	return e, nil
}

func (e *elfFile) readSections(at uint64, count int) {
	const size = 64 // of Elf64_Shdr
	table := e.read(at, uint64(min(count, mostSections))*size)
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
	if at+size <= uint64(len(e.start)) {
		return e.start[at : at+size]
	}
	data := make([]byte, size)
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

// name is a string of a section of them. Of a large table few are wanted: each is read
// by itself.
func (e *elfFile) name(section int, at uint64) string {
	if section < 0 || section >= len(e.sections) || at >= e.sections[section].size {
		return ""
	}
	s := &e.sections[section]
	const small = 32 << 10
	if s.size <= small {
		if s.content == nil {
			s.content = e.read(s.at, s.size)
		}
		return text(s.content, at)
	}
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
