package host

import (
	"bytes"
	"debug/elf"
	"slices"
)

// symbolSize is the size of an Elf64_Sym.
const symbolSize = 24

// defined looks up the names in the hash table that the loader uses, so that of
// thousands of symbols only few are read.
func (e *elfFile) defined(names []string) map[string]bool {
	found := map[string]bool{}
	at := e.index(elf.SHT_GNU_HASH)
	if at < 0 {
		e.eachSymbol(func(name string, section uint16) {
			if section != uint16(elf.SHN_UNDEF) && slices.Contains(names, name) {
				found[name] = true
			}
		})
		return found
	}
	hashes := &records{data: e.data(at), order: e.order}
	symbols := e.sections[at].link
	for _, name := range names {
		if e.hashed(hashes, int(symbols), name) {
			found[name] = true
		}
	}
	return found
}

// hashed follows the chain of a bucket of DT_GNU_HASH: four numbers, a filter of 8-byte
// words, the buckets, and a hash for each symbol; the last hash of a chain has its
// lowest bit set.
func (e *elfFile) hashed(r *records, symbols int, name string) bool {
	buckets, first, words := r.uint32(0), r.uint32(4), r.uint32(8)
	if buckets == 0 || symbols >= len(e.sections) || int(e.sections[symbols].link) >= len(e.sections) {
		return false
	}
	chains := 16 + 8*words + 4*buckets
	hash := gnuHash(name)
	for i := r.uint32(16 + 8*words + 4*int(hash%uint32(buckets))); i >= first && i > 0; i++ {
		if r.bad() {
			return false
		}
		link := uint32(r.uint32(chains + 4*(i-first)))
		if link|1 == hash|1 && e.isSymbol(symbols, i, name) {
			return true
		}
		if link&1 != 0 || chains+4*(i-first) >= len(r.data) {
			return false
		}
	}
	return false
}

// isSymbol reports whether symbol i has that name.
func (e *elfFile) isSymbol(symbols, i int, name string) bool {
	table := e.sections[symbols]
	symbol := e.read(table.at+uint64(i)*symbolSize, symbolSize)
	if symbol == nil || e.order.Uint16(symbol[6:]) == uint16(elf.SHN_UNDEF) {
		return false
	}
	names := e.sections[table.link]
	got := e.read(names.at+uint64(e.order.Uint32(symbol)), uint64(len(name)+1))
	return got != nil && string(got) == name+"\x00"
}

func gnuHash(name string) uint32 {
	hash := uint32(5381)
	for i := range len(name) {
		hash = hash*33 + uint32(name[i])
	}
	return hash
}

// imported reads the undefined symbols, which mostly are not in the hash table.
func (e *elfFile) imported(names []string) map[string]bool {
	found := map[string]bool{}
	e.eachSymbol(func(name string, section uint16) {
		if section == uint16(elf.SHN_UNDEF) && slices.Contains(names, name) {
			found[name] = true
		}
	})
	return found
}

// contained reports which of the names the program's own symbol table defines. Its
// string table stores a name that is the end of another only once, as MPI_Init in
// PMPI_Init, so only a symbol proves that the name exists.
func (e *elfFile) contained(wanted []string) map[string]bool {
	found := map[string]bool{}
	at := e.index(elf.SHT_SYMTAB)
	if at < 0 {
		return found
	}
	names := e.data(int(e.sections[at].link))
	var ends []string
	for _, name := range wanted {
		if bytes.Contains(names, []byte(name+"\x00")) {
			ends = append(ends, name+"\x00")
		}
	}
	for table := e.data(at); len(table) >= symbolSize && len(ends) > 0; table = table[symbolSize:] {
		offset := uint64(e.order.Uint32(table))
		if offset >= uint64(len(names)) || e.order.Uint16(table[6:]) == uint16(elf.SHN_UNDEF) {
			continue
		}
		for _, end := range ends {
			if rest := names[offset:]; len(rest) >= len(end) && string(rest[:len(end)]) == end {
				found[end[:len(end)-1]] = true
			}
		}
	}
	return found
}

// eachSymbol visits all dynamic symbols.
func (e *elfFile) eachSymbol(visit func(name string, section uint16)) {
	at := e.index(elf.SHT_DYNSYM)
	if at < 0 {
		return
	}
	names := e.data(int(e.sections[at].link))
	for table := e.data(at); len(table) >= symbolSize; table = table[symbolSize:] {
		visit(text(names, uint64(e.order.Uint32(table))), e.order.Uint16(table[6:]))
	}
}

// mostTexts bounds the number of results.
const mostTexts = 256

// texts finds the constants of a program that contain a word.
func (e *elfFile) texts(word string) (found []string) {
	const kept = elf.SHF_ALLOC | elf.SHF_WRITE | elf.SHF_EXECINSTR
	e.readSections()
	for i, s := range e.sections {
		if s.kind != elf.SHT_PROGBITS || s.flags&kept != elf.SHF_ALLOC {
			continue
		}
		data := e.data(i)
		for at := bytes.Index(data, []byte(word)); at >= 0 && len(found) < mostTexts; at = bytes.Index(data, []byte(word)) {
			start := bytes.LastIndexByte(data[max(0, at-maxPath):at], 0) + 1 + max(0, at-maxPath)
			end := bytes.IndexByte(data[at:min(len(data), at+maxPath)], 0)
			if end < 0 {
				end = len(word)
			}
			found = append(found, string(data[start:at+end]))
			data = data[at+end:]
		}
	}
	return found
}
