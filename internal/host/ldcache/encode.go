package ldcache

import (
	"encoding/binary"
	"slices"
)

// Encode writes the cache in the new format alone, which every glibc since 2.2
// reads. Entries of one name keep their order.
func (c *Cache) Encode() []byte {
	entries := slices.Clone(c.Entries)
	// The loader searches by halves, from the greatest to the least.
	slices.SortStableFunc(entries, func(a, b Entry) int { return compare(b.Name, a.Name) })

	w := writer{offsets: make(map[string]uint32, 2*len(entries))}
	w.base = uint32(headerNew + len(entries)*entryNew)
	order := binary.NativeEndian
	head := make([]byte, headerNew, int(w.base)+len(entries)*96)
	copy(head, magicNew)
	order.PutUint32(head[20:], uint32(len(entries)))
	head[28] = endianness()
	out := head
	for _, e := range entries {
		out = order.AppendUint32(out, uint32(e.Flags))
		out = order.AppendUint32(out, w.offset(e.Name))
		out = order.AppendUint32(out, w.offset(e.Path))
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

// A writer lays strings down once each.
type writer struct {
	base    uint32 // where the first goes
	text    []byte
	offsets map[string]uint32
}

func (w *writer) offset(s string) uint32 {
	if at, ok := w.offsets[s]; ok {
		return at
	}
	at := w.base + uint32(len(w.text))
	w.text = append(append(w.text, s...), 0)
	w.offsets[s] = at
	return at
}

func endianness() byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return littleEndian
	}
	return bigEndian
}

// compare orders names as the loader does (_dl_cache_libcmp): numbers by their
// value, and a digit after any other character.
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

// byteAt has a NUL at the end, as a string of C.
func byteAt(s string, i int) int {
	if i < len(s) {
		return int(s[i])
	}
	return 0
}
