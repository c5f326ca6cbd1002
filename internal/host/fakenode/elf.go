package fakenode

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
)

// An ELF is a shared library with headers and without code: only what is read without
// loading it.
type ELF struct {
	Soname  string
	Needs   map[string][]string // symbol versions by library
	Defines []string            // symbol versions
	Note    string              // JSON note of a libcuda for forward compatibility
	Machine elf.Machine         // default x86-64
}

// String returns the content of the file.
func (e ELF) String() string {
	b := &elfBuilder{order: binary.LittleEndian}
	b.strings.WriteByte(0)
	b.section(elf.SHT_NULL, "", nil, 0, 0)
	dynamic := [][2]uint64{}
	if e.Soname != "" {
		dynamic = append(dynamic, [2]uint64{uint64(elf.DT_SONAME), uint64(b.text(e.Soname))})
	}
	for _, file := range sortedKeys(e.Needs) {
		dynamic = append(dynamic, [2]uint64{uint64(elf.DT_NEEDED), uint64(b.text(file))})
	}
	needs, count := b.verneed(e.Needs)
	defines := b.verdef(e.Defines)
	const strtab = 1 // index of its section
	at := b.section(elf.SHT_STRTAB, ".dynstr", b.strings.Bytes(), 0, 0)
	dynamic = append(dynamic, [2]uint64{uint64(elf.DT_STRTAB), at}, [2]uint64{uint64(elf.DT_STRSZ), uint64(b.strings.Len())})
	if count > 0 {
		at := b.section(elf.SHT_GNU_VERNEED, ".gnu.version_r", needs, strtab, uint32(count))
		dynamic = append(dynamic, [2]uint64{uint64(elf.DT_VERNEED), at})
	}
	if len(e.Defines) > 0 {
		at := b.section(elf.SHT_GNU_VERDEF, ".gnu.version_d", defines, strtab, uint32(len(e.Defines)))
		dynamic = append(dynamic, [2]uint64{uint64(elf.DT_VERDEF), at})
	}
	dynamic = append(dynamic, [2]uint64{uint64(elf.DT_NULL), 0})
	b.dynamic.Off = b.section(elf.SHT_DYNAMIC, ".dynamic", pack(dynamic), strtab, 0)
	b.dynamic.Filesz = uint64(len(pack(dynamic)))
	if e.Note != "" {
		b.section(elf.SHT_NOTE, ".note.cuda.fwd_compatibility", note(e.Note), 0, 0)
	}
	machine := e.Machine
	if machine == 0 {
		machine = elf.EM_X86_64
	}
	return b.file(machine)
}

type elfBuilder struct {
	order    binary.ByteOrder
	strings  bytes.Buffer // .dynstr
	body     bytes.Buffer // all sections
	names    bytes.Buffer // .shstrtab
	sections []elf.Section64
	dynamic  elf.Prog64 // position of .dynamic
}

const headerSize = 64

func (b *elfBuilder) text(s string) uint32 {
	at := b.strings.Len()
	b.strings.WriteString(s + "\x00")
	return uint32(at)
}

// section adds a section and returns its offset, which is also its address.
func (b *elfBuilder) section(kind elf.SectionType, name string, data []byte, link, info uint32) (at uint64) {
	for b.body.Len()%8 != 0 {
		b.body.WriteByte(0)
	}
	s := elf.Section64{Name: uint32(b.names.Len()), Type: uint32(kind), Link: link, Info: info, Addralign: 4}
	if kind != elf.SHT_NULL {
		s.Off, s.Size = uint64(headerSize+b.body.Len()), uint64(len(data))
	}
	b.names.WriteString(name + "\x00")
	b.body.Write(data)
	b.sections = append(b.sections, s)
	return s.Off
}

func (b *elfBuilder) file(machine elf.Machine) string {
	names := len(b.sections)
	own := uint32(b.names.Len()) // the section's own name is also in it
	b.names.WriteString(".shstrtab\x00")
	b.section(elf.SHT_STRTAB, "", slices.Clone(b.names.Bytes()), 0, 0)
	b.sections[names].Name = own
	for b.body.Len()%8 != 0 {
		b.body.WriteByte(0)
	}
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: headerSize,
		Shoff: uint64(headerSize + b.body.Len()), Shentsize: 64, Shnum: uint16(len(b.sections)), Shstrndx: uint16(names),
	}
	header.Phoff, header.Phentsize, header.Phnum = header.Shoff+uint64(64*len(b.sections)), 56, 2
	b.dynamic.Type, b.dynamic.Vaddr = uint32(elf.PT_DYNAMIC), b.dynamic.Off
	segments := []elf.Prog64{{Type: uint32(elf.PT_LOAD), Filesz: header.Shoff}, b.dynamic}
	return string(pack(header)) + b.body.String() + string(pack(b.sections)) + string(pack(segments))
}

// verneed makes the section that lists the versions needed of each library:
// Elf64_Verneed, each with its Elf64_Vernaux.
func (b *elfBuilder) verneed(needs map[string][]string) (data []byte, files int) {
	var out bytes.Buffer
	names := sortedKeys(needs)
	index := uint16(2)
	for i, file := range names {
		next := uint32(16 + 16*len(needs[file]))
		if i == len(names)-1 {
			next = 0
		}
		out.Write(pack(struct {
			Version, Count  uint16
			File, Aux, Next uint32
		}{1, uint16(len(needs[file])), b.text(file), 16, next}))
		for k, version := range needs[file] {
			next := uint32(16)
			if k == len(needs[file])-1 {
				next = 0
			}
			out.Write(pack(struct {
				Hash         uint32
				Flags, Other uint16
				Name, Next   uint32
			}{0, 0, index, b.text(version), next}))
			index++
		}
	}
	return out.Bytes(), len(names)
}

// verdef makes the section that lists the defined versions: Elf64_Verdef, each with one
// Elf64_Verdaux.
func (b *elfBuilder) verdef(versions []string) []byte {
	var out bytes.Buffer
	for i, version := range versions {
		next := uint32(28)
		if i == len(versions)-1 {
			next = 0
		}
		out.Write(pack(struct {
			Version, Flags, Index, Count uint16
			Hash, Aux, Next              uint32
			Name, NextAux                uint32
		}{1, 0, uint16(i + 2), 1, 0, 20, next, b.text(version), 0}))
	}
	return out.Bytes()
}

func note(text string) []byte {
	name := []byte("NVIDIA Corporation\x00\x00") // padded to 4 bytes
	out := pack([]uint32{uint32(len(name) - 1), uint32(len(text)), 0})
	return append(append(out, name...), text...)
}

func pack(v any) []byte {
	var out bytes.Buffer
	if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
		panic(err) // cannot happen: everything has a fixed size
	}
	return out.Bytes()
}

func sortedKeys(m map[string][]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
