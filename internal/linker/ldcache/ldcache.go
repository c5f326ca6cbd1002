// Package ldcache reads and writes /etc/ld.so.cache, in which glibc's loader looks up
// the names of libraries. The format is that of glibc 2.2 and newer, in
// sysdeps/generic/dl-cache.h: a header, entries in a special order, their strings, and
// since 2.33 extensions, one of which names the subdirectories of glibc-hwcaps. Until
// 2.31 ldconfig wrote an older format before it.
package ldcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// Path is where glibc's loader has its cache.
const Path = "/etc/ld.so.cache"

// An Entry says where a library is.
type Entry struct {
	Name  string // the requested name, mostly the DT_SONAME
	Path  string
	Flags int32 // the kind of library, such as Flags("amd64")

	// Hwcap says which processors it is for. The meaning depends on the writer: if bit
	// 62 is set, the low half is an index of Hwcaps.
	Hwcap uint64
	// OSVersion is the oldest kernel for it, unused since glibc 2.36.
	OSVersion uint32
}

// A Cache holds the content of the file.
type Cache struct {
	Entries []Entry
	Hwcaps  []string // names of subdirectories of glibc-hwcaps

	sorted int // how many entries are in the loader's order since Put
}

// ErrFormat means that the data is not a cache, or a damaged one.
var ErrFormat = errors.New("not a cache of glibc's loader")

const (
	magicOld = "ld.so-1.7.0\x00"
	magicNew = "glibc-ld.so.cache1.1"

	headerOld, entryOld = 16, 12 // sizes in bytes; the old header is padded to its 4-byte count
	headerNew, entryNew = 48, 24

	extensionMagic = 0xEAA42174
	tagHwcaps      = 1

	littleEndian = 2 // of cache_file_new.flags
	bigEndian    = 3

	maxEntries = 1 << 17
)

// Flags returns the flags of an entry for a 64-bit library of the architecture, named
// as in GOARCH; 0 for architectures without a GPU driver.
func Flags(arch string) int32 {
	switch arch {
	case "amd64":
		return 0x0303
	case "arm64":
		return 0x0a03
	case "ppc64le":
		return 0x0503
	}
	return 0
}

// Parse reads a cache in this host's byte order.
func Parse(data []byte) (*Cache, error) {
	file := data
	if bytes.HasPrefix(data, []byte(magicOld)) && len(data) >= headerOld {
		// The new format follows, aligned to 8 bytes.
		count := uint64(binary.NativeEndian.Uint32(data[12:]))
		start := (headerOld + count*entryOld + 7) &^ 7
		if start > uint64(len(data)) {
			return nil, ErrFormat
		}
		data = data[start:]
	}
	if len(data) < headerNew || !bytes.HasPrefix(data, []byte(magicNew)) {
		return nil, ErrFormat
	}
	p := parser{data: data, text: string(data)}
	count := p.uint32(20)
	if count > maxEntries || headerNew+uint64(count)*entryNew > uint64(len(data)) {
		return nil, ErrFormat
	}
	c := &Cache{Entries: make([]Entry, count)}
	for i := range c.Entries {
		at := uint32(headerNew + i*entryNew)
		c.Entries[i] = Entry{
			Flags: int32(p.uint32(at)), Name: p.string(p.uint32(at + 4)), Path: p.string(p.uint32(at + 8)),
			OSVersion: p.uint32(at + 12), Hwcap: binary.NativeEndian.Uint64(data[at+16:]),
		}
	}
	if at := p.uint32(32); at != 0 && data[28] != 0 {
		// Extensions count offsets from the start of the file, strings from the start
		// of the new format.
		outer := parser{data: file}
		for _, name := range outer.hwcaps(at) {
			c.Hwcaps = append(c.Hwcaps, p.string(name))
		}
		p.bad = p.bad || outer.bad
	}
	if p.bad {
		return nil, ErrFormat
	}
	return c, nil
}

// A parser reads numbers and strings by offset, and remembers when one was out of
// bounds.
type parser struct {
	data []byte
	text string // the same as data: entries share its memory
	bad  bool
}

func (p *parser) uint32(at uint32) uint32 {
	if uint64(at)+4 > uint64(len(p.data)) {
		p.bad = true
		return 0
	}
	return binary.NativeEndian.Uint32(p.data[at:])
}

// mostText is PATH_MAX of Linux.
const mostText = 4096

func (p *parser) string(at uint32) string {
	if uint64(at) >= uint64(len(p.text)) {
		p.bad = true
		return ""
	}
	s := p.text[at:min(len(p.text), int(at)+mostText)]
	end := strings.IndexByte(s, 0)
	if end < 0 {
		p.bad = true
		return ""
	}
	return s[:end]
}

// hwcaps reads the extension with names of directories, if there is one: the offsets of
// the names.
func (p *parser) hwcaps(at uint32) []uint32 {
	if p.uint32(at) != extensionMagic {
		p.bad = true
		return nil
	}
	sections := min(p.uint32(at+4), 64)
	for i := range sections {
		section := at + 8 + i*16
		if p.uint32(section) != tagHwcaps {
			continue
		}
		offset, size := p.uint32(section+8), p.uint32(section+12)
		if uint64(offset)+uint64(size) > uint64(len(p.data)) {
			p.bad = true
			return nil
		}
		var names []uint32
		for k := uint32(0); k+4 <= size; k += 4 {
			names = append(names, p.uint32(offset+k))
		}
		return names
	}
	return nil
}

// Lookup returns the paths of a name for libraries of the kind, in the order in which
// the loader tries them.
func (c *Cache) Lookup(name string, flags int32) []string {
	var paths []string
	for _, e := range c.Entries {
		if e.Name == name && e.Flags == flags {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

// Put replaces all entries with these names and kinds.
func (c *Cache) Put(entries ...Entry) {
	if !slices.IsSortedFunc(c.Entries, descending) {
		slices.SortStableFunc(c.Entries, descending)
	}
	ours := slices.Clone(entries)
	slices.SortFunc(ours, descending)
	merged := make([]Entry, 0, len(c.Entries)+len(ours))
	theirs := c.Entries
	for len(ours) > 0 {
		own := ours[:sameName(ours)] // with one name
		ours = ours[len(own):]
		for len(theirs) > 0 && descending(theirs[0], own[0]) < 0 {
			merged, theirs = append(merged, theirs[0]), theirs[1:]
		}
		merged = append(merged, own...)
		for len(theirs) > 0 && descending(theirs[0], own[0]) == 0 {
			replaced := func(e Entry) bool { return e.Name == theirs[0].Name && e.Flags == theirs[0].Flags }
			if !slices.ContainsFunc(own, replaced) {
				merged = append(merged, theirs[0])
			}
			theirs = theirs[1:]
		}
	}
	c.Entries = append(merged, theirs...)
	c.sorted = len(c.Entries)
}

// sameName counts the entries at the start with the same name.
func sameName(entries []Entry) int {
	n := 1
	for n < len(entries) && descending(entries[n], entries[0]) == 0 {
		n++
	}
	return n
}

// descending is the loader's order: its binary search expects the greatest name first.
func descending(a, b Entry) int { return compare(b.Name, a.Name) }
