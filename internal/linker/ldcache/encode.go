package ldcache

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Encode writes the cache in the new format only, which every glibc since 2.2 reads.
// Entries with the same name keep their order. After Put the entries must stay
// unchanged, or only be appended to.
func (c *Cache) Encode() []byte {
	entries := c.Entries
	if c.sorted != len(entries) && !slices.IsSortedFunc(entries, descending) {
		entries = slices.Clone(entries)
		slices.SortStableFunc(entries, descending)
	}
	length := 0
	for _, e := range entries {
		length += len(e.Path) + 1
	}
	w := writer{base: uint32(headerNew + len(entries)*entryNew), text: make([]byte, 0, length+length/8)}
	order := binary.NativeEndian
	head := make([]byte, headerNew, int(w.base)+length+length/4)
	copy(head, magicNew)
	order.PutUint32(head[20:], uint32(len(entries)))
	head[28] = endianness()
	out := head
	for _, e := range entries {
		out = order.AppendUint32(out, uint32(e.Flags))
		name, path := w.offsets(e)
		out = order.AppendUint32(out, name)
		out = order.AppendUint32(out, path)
		out = order.AppendUint32(out, e.OSVersion)
		out = order.AppendUint64(out, e.Hwcap)
	}
	names := make([]uint32, len(c.Hwcaps))
	for i, name := range c.Hwcaps {
		names[i] = w.offset(name)
	}
	order.PutUint32(out[24:], uint32(len(w.text)))
	out = append(out, w.text...)
	if len(names) == 0 {
		return out
	}
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	start := uint32(len(out))
	order.PutUint32(out[32:], start)
	const section = 8 + 16 // one header, one section
	for _, v := range []uint32{extensionMagic, 1, tagHwcaps, 0, start + section, uint32(4 * len(names))} {
		out = order.AppendUint32(out, v)
	}
	for _, at := range names {
		out = order.AppendUint32(out, at)
	}
	return out
}

// A writer writes strings one after the other.
type writer struct {
	base uint32 // the offset of the first
	text []byte
}

func (w *writer) offset(s string) uint32 {
	at := w.base + uint32(len(w.text))
	w.text = append(append(w.text, s...), 0)
	return at
}

// offsets writes an entry's strings: mostly its name is the end of its path.
func (w *writer) offsets(e Entry) (name, path uint32) {
	path = w.offset(e.Path)
	if strings.HasSuffix(e.Path, e.Name) {
		return path + uint32(len(e.Path)-len(e.Name)), path
	}
	return w.offset(e.Name), path
}

func endianness() byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return littleEndian
	}
	return bigEndian
}

// compare orders names as the loader does (_dl_cache_libcmp): numbers by value, and a
// digit after any other character.
func compare(a, b string) int {
	i, k := 0, 0
	for i < len(a) {
		switch {
		case isDigit(a, i) && isDigit(b, k):
			var x, y int32 // they overflow as the loader's do
			for ; isDigit(a, i); i++ {
				x = x*10 + int32(a[i]-'0')
			}
			for ; isDigit(b, k); k++ {
				y = y*10 + int32(b[k]-'0')
			}
			if x != y {
				return int(x - y)
			}
		case isDigit(a, i):
			return 1
		case isDigit(b, k):
			return -1
		case k == len(b) || a[i] != b[k]:
			return int(a[i]) - byteAt(b, k)
		default:
			i++
			k++
		}
	}
	return -byteAt(b, k)
}

func isDigit(s string, i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '9' }

// byteAt returns a NUL after the end, as in a C string.
func byteAt(s string, i int) int {
	if i < len(s) {
		return int(s[i])
	}
	return 0
}
