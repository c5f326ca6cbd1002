package layers_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
)

// A member that leads outside, or that no image has, is refused before anything else is written.
func TestHostileMembers(t *testing.T) {
	deep := strings.Repeat("d/", 201) + "x=1"
	for name, c := range map[string]struct {
		lines []string
		want  error
	}{
		"..":                     {[]string{"../a=1"}, layers.ErrHostile},
		".. within":              {[]string{"a/../../b=1"}, layers.ErrHostile},
		"absolute with ..":       {[]string{"/../b=1"}, layers.ErrHostile},
		"hard link to ..":        {[]string{"b=>../../etc/passwd"}, layers.ErrHostile},
		"hard link to nothing":   {[]string{"b=>etc/passwd"}, layers.ErrBroken},
		"hard link to directory": {[]string{"d/", "b=>d"}, layers.ErrBroken},
		"whiteout of ..":         {[]string{"a/.wh...="}, layers.ErrHostile},
		"whiteout of nothing":    {[]string{"a/.wh.="}, layers.ErrHostile},
		"the root is a file":     {[]string{".=1"}, layers.ErrHostile},
		"the root is a link":     {[]string{"./->/etc"}, layers.ErrHostile},
		"name":                   {[]string{strings.Repeat("n", 256) + "=1"}, layers.ErrTooMuch},
		"path":                   {[]string{strings.Repeat("nnnnnnnnn/", 410) + "x=1"}, layers.ErrTooMuch},
		"depth":                  {[]string{deep}, layers.ErrTooMuch},
		"links in a circle":      {[]string{"a->b", "b->a", "a/x=1"}, layers.ErrBroken},
		"a long link":            {[]string{"a->" + strings.Repeat("x", 4096)}, layers.ErrHostile},
	} {
		data := archive(t, c.lines...)
		if _, _, err := flatten(t, []source.Layer{layer(data, data)}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestHostileHeaders(t *testing.T) {
	for name, h := range map[string]*tar.Header{
		"owner":  {Name: "a", Uid: 1 << 40, Format: tar.FormatPAX},
		"device": {Name: "a", Typeflag: tar.TypeChar, Devmajor: 1 << 20},
		"kind":   {Name: "a", Typeflag: 'Q'},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(name, err)
		}
		if _, _, err := flatten(t, []source.Layer{layer(b.Bytes(), b.Bytes())}); !errors.Is(err, layers.ErrHostile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A registry that sends something else than it claims is found out.
func TestLies(t *testing.T) {
	plain := archive(t, "a=1")
	packed := gzipped(t, plain)
	honest := layer(plain, packed)
	for name, c := range map[string]struct {
		change func(*source.Layer)
		want   error
	}{
		"digest":    {func(l *source.Layer) { l.Digest = digest(plain) }, layers.ErrDigest},
		"diffID":    {func(l *source.Layer) { l.DiffID = digest(packed) }, layers.ErrDigest},
		"more":      {func(l *source.Layer) { l.Size-- }, layers.ErrTooMuch},
		"less":      {func(l *source.Layer) { l.Size++ }, layers.ErrDigest},
		"truncated": {func(l *source.Layer) { *l = layer(plain, packed[:len(packed)-9]); l.Size = 0 }, io.ErrUnexpectedEOF},
		"endless": {func(l *source.Layer) {
			l.Open = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(packed), zeros{})), nil
			}
		}, layers.ErrTooMuch},
	} {
		l := honest
		c.change(&l)
		if _, _, err := flatten(t, []source.Layer{l}); err == nil || (!errors.Is(err, c.want) && name != "endless") {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := flatten(t, []source.Layer{honest}); err != nil {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A small layer cannot become too much, by compression, by holes or by the number of members.
func TestBombs(t *testing.T) {
	limits := layers.DefaultLimits()
	limits.Floor, limits.Members, limits.Layers, limits.Bytes = 1<<16, 1000, 5, 1<<24
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("%d=", i)
	}
	for name, all := range map[string][]source.Layer{
		"ratio": {packedLayer(t, archive(t, "a="+strings.Repeat("\x00", 4<<20)))},
		"count": {packedLayer(t, archive(t, many...))},
		"sum":   {packedLayer(t, archive(t, "a="+pattern(9<<20))), packedLayer(t, archive(t, "b="+pattern(9<<20)))},
		"holes": {packedLayer(t, holes("1099511627776"))},
		"layers": {
			packedLayer(t, archive(t)), packedLayer(t, archive(t)), packedLayer(t, archive(t)),
			packedLayer(t, archive(t)), packedLayer(t, archive(t)), packedLayer(t, archive(t)),
		},
	} {
		if _, err := layers.Flatten(t.Context(), all, limits, new(memory), nil); !errors.Is(err, layers.ErrTooMuch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// pattern returns text that gzip compresses by half.
func pattern(size int) string {
	var b strings.Builder
	for i := uint32(1); b.Len() < size; i = i*1664525 + 1013904223 {
		b.WriteByte('a' + byte(i>>28))
	}
	return b.String()
}

func packedLayer(t *testing.T, plain []byte) source.Layer {
	t.Helper()
	return layer(plain, gzipped(t, plain))
}

// holes returns an archive with one sparse file of the size, without a byte of data. It uses GNU's
// format 1.0: a map before the content, here with one empty piece.
func holes(size string) []byte {
	pax := func(key, value string) string {
		for n := len(key) + len(value) + 3; ; n++ {
			if s := fmt.Sprintf("%d %s=%s\n", n, key, value); len(s) == n {
				return s
			}
		}
	}
	records := pax("GNU.sparse.major", "1") + pax("GNU.sparse.minor", "0") + pax("GNU.sparse.name", "a") + pax("GNU.sparse.realsize", size)
	content := "1\n" + size + "\n0\n"
	return append(append(block('x', len(records)), pad(records)...), append(append(block('0', 512), pad(content)...), make([]byte, 1024)...)...)
}

func pad(s string) []byte { return append([]byte(s), make([]byte, 512-len(s)%512)...) }

// block returns a ustar header.
func block(kind byte, size int) []byte {
	b := make([]byte, 512)
	copy(b, "a")
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x0000000000000\x00", size))
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}
