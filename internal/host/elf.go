package host

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
)

// A Library is what the dynamic section of a shared library says.
type Library struct {
	Class   elf.Class
	Machine elf.Machine
	Soname  string              // DT_SONAME, empty without
	Needed  []string            // DT_NEEDED
	Needs   map[string][]string // symbol versions it needs, by the library that has them
	Defines []string            // symbol versions it defines
}

// maxLibrary bounds libraries that are read, in bytes. The driver's largest have
// about a hundred megabytes.
const maxLibrary = 256 << 20

// Library reads the headers of a library.
func (t *Tree) Library(path string) (lib Library, err error) {
	f, err := t.OpenFile(path)
	if err != nil {
		return Library{}, err
	}
	defer f.Close()
	lib, err = readLibrary(f)
	if err != nil {
		return Library{}, fmt.Errorf("read library %s: %w", path, err)
	}
	return lib, nil
}

// readLibrary does not trust the file: debug/elf is written for honest ones.
func readLibrary(f *os.File) (lib Library, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bad ELF file: %v", r)
		}
	}()
	if info, err := f.Stat(); err != nil || info.Size() > maxLibrary {
		return Library{}, ErrTooLarge
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return Library{}, err
	}
	lib = Library{Class: e.Class, Machine: e.Machine}
	// Each of these is empty for a file without a dynamic section.
	if names, err := e.DynString(elf.DT_SONAME); err == nil && len(names) > 0 {
		lib.Soname = names[0]
	}
	lib.Needed, _ = e.DynString(elf.DT_NEEDED)
	lib.Needs = versionNeeds(e)
	lib.Defines = versionsDefined(e)
	return lib, nil
}

// debug/elf would read all symbols for the versions, and trust the counts in
// them. These two follow the gABI extension of symbol versions: records that
// name the next one by its distance.

const (
	mostSection = 16 << 20 // bytes
	mostRecords = 4096
)

// versionNeeds reads the section of Elf64_Verneed and Elf64_Vernaux.
func versionNeeds(e *elf.File) map[string][]string {
	needs := map[string][]string{}
	r := newRecords(e, elf.SHT_GNU_VERNEED)
	for at, next := 0, 1; next != 0; at += next {
		count, file, aux := r.uint16(at+2), r.text(at+4), at+r.uint32(at+8)
		for range count {
			if r.bad() {
				return needs
			}
			needs[file] = append(needs[file], r.text(aux+8))
			aux += r.uint32(aux + 12)
		}
		next = r.uint32(at + 12)
	}
	return needs
}

// versionsDefined reads the section of Elf64_Verdef: the first name of each.
func versionsDefined(e *elf.File) []string {
	var defined []string
	r := newRecords(e, elf.SHT_GNU_VERDEF)
	for at, next := 0, 1; next != 0; at += next {
		name := r.text(at + r.uint32(at+12))
		next = r.uint32(at + 16)
		if r.bad() {
			break
		}
		defined = append(defined, name)
	}
	return defined
}

// records are the bytes of a section, and the strings that it refers to. What
// lies outside reads as 0, so that every chain ends.
type records struct {
	data, strings []byte
	order         binary.ByteOrder
	read          int
}

func newRecords(e *elf.File, kind elf.SectionType) *records {
	r := &records{order: e.ByteOrder}
	s := e.SectionByType(kind)
	if s == nil || s.Size > mostSection || int(s.Link) >= len(e.Sections) || e.Sections[s.Link].Size > mostSection {
		return r
	}
	r.data, _ = s.Data()
	r.strings, _ = e.Sections[s.Link].Data()
	return r
}

// bad tells whether there is no end to it.
func (r *records) bad() bool {
	r.read++
	return r.read > mostRecords
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
func (r *records) text(at int) string {
	offset := r.uint32(at)
	if offset >= len(r.strings) {
		return ""
	}
	s := r.strings[offset:]
	if end := bytes.IndexByte(s, 0); end >= 0 {
		return string(s[:end])
	}
	return ""
}
