package layers_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
)

// A memory is a Writer that keeps everything in a map, and fails where a file system would.
type memory struct {
	files  map[string]string // a description of each member, by path
	mode   map[string]uint32
	begun  int
	writes int
}

func (w *memory) Begin() error {
	w.files, w.mode = map[string]string{}, map[string]uint32{}
	w.begun++
	return nil
}

// put refuses a path that exists, or that leads through something that is not a directory.
func (w *memory) put(path, what string) error {
	for at := range path {
		if path[at] == '/' {
			if is, there := w.files[path[:at]]; there && is != "dir" {
				return fmt.Errorf("%s is %s", path[:at], is)
			}
			w.files[path[:at]] = "dir"
		}
	}
	if is, there := w.files[path]; there && (is != "dir" || what != "dir") {
		return fmt.Errorf("%s is %s already", path, is)
	}
	w.files[path] = what
	return nil
}

func (w *memory) File(m layers.Member, content io.Reader) error {
	data, err := io.ReadAll(content)
	w.writes++
	return errors.Join(err, w.put(m.Path, "file "+string(data)))
}

func (w *memory) Link(path, file string) error {
	is, there := w.files[file]
	if !there {
		return fmt.Errorf("no %s", file)
	}
	return w.put(path, is)
}

func (w *memory) Other(m layers.Member) error {
	return w.put(m.Path, map[layers.Kind]string{
		layers.Symlink: "-> " + m.Target, layers.CharDevice: fmt.Sprintf("char %d:%d", m.Major, m.Minor),
		layers.BlockDevice: fmt.Sprintf("block %d:%d", m.Major, m.Minor), layers.Fifo: "fifo",
	}[m.Kind])
}

func (w *memory) Directory(m layers.Member) error {
	w.mode[m.Path] = m.Mode
	return w.put(m.Path, "dir")
}

// archive returns a layer with a member for each line: PATH/ a directory, PATH=TEXT a file,
// PATH->TARGET a symbolic link, PATH=>FILE a hard link, PATH! a fifo.
func archive(t *testing.T, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		h := &tar.Header{Name: line, Mode: 0o644}
		content := ""
		if name, target, ok := strings.Cut(line, "=>"); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeLink, name, target
		} else if name, target, ok := strings.Cut(line, "->"); ok {
			h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name, target
		} else if name, text, ok := strings.Cut(line, "="); ok {
			h.Typeflag, h.Name, content = tar.TypeReg, name, text
			h.Size = int64(len(text))
		} else if name, ok := strings.CutSuffix(line, "!"); ok {
			h.Typeflag, h.Name = tar.TypeFifo, name
		} else {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		write(t, w, h, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, w *tar.Writer, h *tar.Header, content string) {
	t.Helper()
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
}

// layer makes a layer from an archive and its transported form.
func layer(plain, packed []byte) source.Layer {
	return source.Layer{
		Digest: digest(packed), DiffID: digest(plain), Size: int64(len(packed)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil },
	}
}

func digest(data []byte) image.Digest {
	sum := sha256.Sum256(data)
	return image.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func flatten(t *testing.T, all []source.Layer) (*memory, *layers.Result, error) {
	t.Helper()
	w := new(memory)
	result, err := layers.Flatten(t.Context(), all, layers.DefaultLimits(), w, nil)
	return w, result, err
}

// Layers are merged as image-spec defines it. reads is 0 if each layer is read once.
func TestFlatten(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]string // the lowest first
		want   string
		reads  int // more than there are layers
	}{
		"one layer":               {[][]string{{"a/", "a/b=1", "c->a/b"}}, "a=dir a/b=file 1 c=-> a/b", 0},
		"a file is replaced":      {[][]string{{"a=1"}, {"a=2"}, {"a=3"}}, "a=file 3", 0},
		"whiteout":                {[][]string{{"a/", "a/b=1", "a/c=1"}, {"a/.wh.b="}}, "a=dir a/c=file 1", 0},
		"whiteout of a directory": {[][]string{{"a/", "a/b/", "a/b/c=1"}, {"a/.wh.b="}}, "a=dir", 0},
		"whiteout of nothing":     {[][]string{{"a=1"}, {".wh.b=", "x/.wh.y="}}, "a=file 1", 0},
		"whiteout and anew":       {[][]string{{"a/", "a/b=1"}, {".wh.a="}, {"a/", "a/c=1"}}, "a=dir a/c=file 1", 0},
		"anew in one layer":       {[][]string{{"a/", "a/b=1"}, {"a/", "a/c=1", ".wh.a="}}, "a=dir a/c=file 1", 0},
		"opaque":                  {[][]string{{"a/", "a/b=1", "a/d/", "a/d/e=1"}, {"a/", "a/.wh..wh..opq=", "a/c=2"}}, "a=dir a/c=file 2", 0},
		"opaque at the end":       {[][]string{{"a/", "a/b=1"}, {"a/", "a/c=2", "a/.wh..wh..opq="}}, "a=dir a/c=file 2", 0},
		"opaque root":             {[][]string{{"a=1"}, {".wh..wh..opq=", "b=1"}}, "b=file 1", 0},
		"opaque, twice lower":     {[][]string{{"a/", "a/b=1"}, {"a/", "a/.wh..wh..opq=", "a/c=2"}, {"a/", "a/b=3"}}, "a=dir a/b=file 3 a/c=file 2", 0},
		"metadata of AUFS":        {[][]string{{".wh..wh.plnk/", ".wh..wh.plnk/1.2=x", ".wh..wh.aufs=", "a=1"}}, "a=file 1", 0},
		"a file over a directory": {[][]string{{"a/", "a/b=1"}, {"a=2"}}, "a=file 2", 0},
		"a directory over a file": {[][]string{{"a=1"}, {"a/", "a/b=2"}}, "a=dir a/b=file 2", 0},
		"a link over a directory": {[][]string{{"a/", "a/b=1", "c/"}, {"a->c"}}, "a=-> c c=dir", 0},
		"a directory over a link": {[][]string{{"a->c", "c/"}, {"a/", "a/b=2"}}, "a=dir a/b=file 2 c=dir", 0},
		"through a lower link":    {[][]string{{"usr/", "usr/lib/", "lib->usr/lib"}, {"lib/x=1"}}, "lib=-> usr/lib usr=dir usr/lib=dir usr/lib/x=file 1", 1},
		"through a link upwards":  {[][]string{{"d/", "d/up->../../../..", "x/"}, {"d/up/x/y=1"}}, "d=dir d/up=-> ../../../.. x=dir x/y=file 1", 1},
		"whiteout through a link": {[][]string{{"usr/", "usr/x=1", "l->/usr"}, {"l/.wh.x="}}, "l=-> /usr usr=dir", 0},
		"twice in a layer":        {[][]string{{"a=1", "a=2"}}, "a=file 2", 1},
		"a file, then in it":      {[][]string{{"a=1", "a/b=2"}}, "a=dir a/b=file 2", 1},
		"in it, then a file":      {[][]string{{"a/b=2", "a=1"}}, "a=file 1", 1},
		"no directories listed":   {[][]string{{"a/b/c=1"}, {"a/b/d=1"}}, "a=dir a/b=dir a/b/c=file 1 a/b/d=file 1", 0},
		"hard link":               {[][]string{{"a=1", "b=>a"}}, "a=file 1 b=file 1", 0},
		"hard link, upper":        {[][]string{{"a=1"}, {"b=>a"}}, "a=file 1 b=file 1", 0},
		"of it the name is gone":  {[][]string{{"a=1", "b=>a"}, {".wh.a="}}, "b=file 1", 1},
		"hard link, target anew":  {[][]string{{"a=1"}, {"b=>a"}, {"a=2"}}, "a=file 2 b=file 1", 1},
		"hard link to a link":     {[][]string{{"a->x", "b=>a"}}, "a=-> x b=-> x", 0},
		"hard link to itself":     {[][]string{{"a=1", "a=>a"}}, "a=file 1", 0},
		"hard link through one":   {[][]string{{"u/", "u/a=1", "l->u", "b=>l/a"}}, "b=file 1 l=-> u u=dir u/a=file 1", 0},
		"absolute and dotted":     {[][]string{{"./", "./a=1", "/b=1", "c//d=1", "./e/./f=1"}}, "a=file 1 b=file 1 c=dir c/d=file 1 e=dir e/f=file 1", 0},
		"fifo":                    {[][]string{{"a!"}}, "a=fifo", 0},
		"not UTF-8":               {[][]string{{"\xff\xfe=1", "ü=2"}}, "\xc3\xbc=file 2 \xff\xfe=file 1", 0},
		"case":                    {[][]string{{"a=1", "A=2"}}, "A=file 2 a=file 1", 0},
		"empty layers":            {[][]string{{}, {"a=1"}, {}}, "a=file 1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var all []source.Layer
			for _, lines := range c.layers {
				data := archive(t, lines...)
				all = append(all, layer(data, data))
			}
			w, result, err := flatten(t, all)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, path := range slices.Sorted(maps.Keys(w.files)) {
				got = append(got, path+"="+w.files[path])
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %q\nwant %q", s, c.want)
			}
			if reads := result.Reads - len(all); reads != c.reads {
				t.Errorf("%d reads more than layers, want %d", reads, c.reads)
			}
			if result.Members != int64(len(w.files)) {
				t.Errorf("%d members, written are %d", result.Members, len(w.files))
			}
		})
	}
}

// A layer is decompressed by its content, whatever its media type says.
func TestCompression(t *testing.T) {
	plain := archive(t, "a="+strings.Repeat("text ", 10000))
	var gz, z, x bytes.Buffer
	g := gzip.NewWriter(&gz)
	zw, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	xw, err := xz.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, zw, xw} {
		_, err := w.Write(plain)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	skippable := []byte{0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	half := len(plain) / 2
	for name, packed := range map[string][]byte{
		"none": plain, "gzip": gz.Bytes(), "zstd": z.Bytes(), "xz": x.Bytes(),
		"zstd, frames to skip": slices.Concat(skippable, z.Bytes(), skippable),
		"gzip, two members":    slices.Concat(gzipped(t, plain[:half]), gzipped(t, plain[half:])),
	} {
		if w, _, err := flatten(t, []source.Layer{layer(plain, packed)}); err != nil || len(w.files["a"]) != 50005 {
			t.Errorf("%s: %d bytes, %v", name, len(w.files["a"]), err)
		}
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
