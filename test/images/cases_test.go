//go:build integration

package images

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/pace"
)

type packer func(archive []byte) (media string, data []byte)

// A trial is an odd image and what is right for it.
type trial struct {
	name, right string                  // for the table
	layers      [][]string              // members, as lines, from the lowest layer
	raw         func(dir string) []byte // an archive that Go cannot write, above the layers
	pack        packer                  // gzipped if nil
	put         func(l layout, image object) object
	want        []string // members of the root file system; directories above them need no line
	fails       string   // a part of the error that is right
}

// members are lines in one string.
func members(text string) []string { return strings.Split(strings.TrimSpace(text), "; ") }

// trials returns all cases.
func trials() []trial {
	all := []trial{
		{
			name: "whiteouts", right: "file and directory are gone",
			layers: [][]string{members("a=1; b=2; d/e=3; d/f/g=4; keep=5"), members(".wh.a=; d/.wh.f=; .wh.never=")},
			want:   members("b=2; d/e=3; keep=5"),
		},
		{
			name: "whiteout of a directory, made anew", right: "only what is new",
			layers: [][]string{members("d/a=1; d/b/c=2"), members(".wh.d=; d/; d/new=3")},
			want:   members("d/new=3"),
		},
		{
			name: "opaque directory", right: "what is below is gone",
			layers: [][]string{members("d/a=1; d/b/c=2; e=3"), members("d/; d/.wh..wh..opq=; d/new=4")},
			want:   members("d/new=4; e=3"),
		},
		{
			name: "opaque mark after its directory's files", right: "files of the same layer stay",
			layers: [][]string{members("d/a=1"), members("d/; d/new=2; d/.wh..wh..opq=")},
			want:   members("d/new=2"),
		},
		{
			name: "whiteout and its file in one layer", right: "the file stays, whichever is first",
			layers: [][]string{members("a=1; b=1"), members("a=2; .wh.a=; .wh.b=; b=2")},
			want:   members("a=2; b=2"),
		},
		{
			name: "AUFS metadata", right: "no .wh. names",
			layers: [][]string{members("a=1; .wh..wh.plnk/1.2=x; .wh..wh.aufs=")},
			want:   members("a=1"),
		},
		{
			name: "uid 718322462", right: "owner kept, or the caller in a tree",
			layers: [][]string{members("[600 718322462:718322463] a=1; [755 718322462:5] d/")},
			want:   members("[600 718322462:718322463] a=1; [755 718322462:5] d/"),
		},
		{
			name: "mode 000 file and directory", right: "both there, with all that is in them",
			layers: [][]string{members("[0] a=1; [0] d/; [0] d/b=2"), members("[0] d/c=3")},
			want:   members("[0] a=1; [0] d/; [0] d/b=2; [0] d/c=3"),
		},
		{
			name: "hard link to a lower layer's file", right: "one file, two names",
			layers: [][]string{members("a=1"), members("d/b==a")},
			want:   members("a=1; d/b==a"),
		},
		{
			name: "hard link whose file is deleted above", right: "the other name stays",
			layers: [][]string{members("a=1; b==a; c==a"), members(".wh.a=")},
			want:   members("b=1; c==b"),
		},
		{
			name: "hard link whose file is replaced above", right: "the other name has the old content",
			layers: [][]string{members("a=1; b==a"), members("a=2")},
			want:   members("a=2; b=1"),
		},
		{name: "zstd that is called gzip", right: "unpacked", layers: [][]string{members("a=1")}, pack: zstded(ociLayer), want: members("a=1")},
		{name: "docker manifest with zstd", right: "unpacked", layers: [][]string{members("a=1")}, pack: zstded(dockerZstd), want: members("a=1")},
		{name: "zstd with skippable frames", right: "unpacked", layers: [][]string{members("a=1")}, pack: skippable, want: members("a=1")},
		{name: "xz that is called gzip", right: "unpacked", layers: [][]string{members("a=1")}, pack: xzed, want: members("a=1")},
		{name: "plain tar that is called gzip", right: "unpacked", layers: [][]string{members("a=1")}, pack: unpacked, want: members("a=1")},
		{name: "gzip in two members", right: "all of it", layers: [][]string{members("a=1; b=2")}, pack: twoGzips, want: members("a=1; b=2")},
		{name: "scratch: one static file, no shell", right: "that file", layers: [][]string{members("[755] app=ELF")}, want: members("[755] app=ELF")},
		{
			name: "names that are not UTF-8", right: "the same bytes",
			layers: [][]string{members("caf\u00e9=1; caf\xe9=2; \xff\xfe/x=3; a\nb=4")},
			want:   members("caf\u00e9=1; caf\xe9=2; \xff\xfe/x=3; a\nb=4"),
		},
		{
			name: "extended attributes and capabilities", right: "kept; no capabilities for a user",
			layers: [][]string{members("[644 user.note=1] a=1; [755 security.capability=] ping=2")},
			want:   members("[644 user.note=1] a=1; [755 security.capability=] ping=2"),
		},
		{name: "names that differ only in case", right: "two files", layers: [][]string{members("A=1; a=2; D/x=3; d/x=4")}, want: members("A=1; a=2; D/x=3; d/x=4")},
		{
			name: "directory that is a link below", right: "files go where it leads, inside",
			layers: [][]string{members("usr/lib/a=1; lib->usr/lib; abs->/usr/lib"), members("lib/b=2; abs/c=3")},
			want:   members("usr/lib/a=1; usr/lib/b=2; usr/lib/c=3; lib->usr/lib; abs->/usr/lib"),
		},
		{
			name: "links: dangling, looping, far outside", right: "kept as they are",
			layers: [][]string{members("a->none; b->b; c->../../../../etc/passwd; d->/nonexistent")},
			want:   members("a->none; b->b; c->../../../../etc/passwd; d->/nonexistent"),
		},
	}
	return append(all, moreTrials()...)
}

// moreTrials are odd in kinds, sizes, numbers or manifests.
func moreTrials() []trial {
	files, levels := 3000, 200
	if pace.All() {
		files = 100_000
	}
	deep := strings.Repeat("long/", 60) + strings.Repeat("n", 255)
	return []trial{
		{name: "a loop of links as a directory", right: "an error", layers: [][]string{members("a->b; b->a"), members("a/x=1")}, fails: "links in one path"},
		{
			name: "file, then directory, then file", right: "the last",
			layers: [][]string{members("a=1; b/c=2"), members("a/x=3; b=4"), members("a=5; b/y=6")},
			want:   members("a=5; b/y=6"),
		},
		{
			name: "device nodes and a fifo", right: "kept; no devices in a tree",
			layers: [][]string{members("dev/null c1:3; dev/sda b8:0; pipe |; a=1")},
			want:   members("dev/null c1:3; dev/sda b8:0; pipe |; a=1"),
		},
		{
			name: "setuid, setgid, sticky", right: "kept; dropped in a tree",
			layers: [][]string{members("[4755] su=1; [2755] wall=2; [1777] tmp/")},
			want:   members("[4755] su=1; [2755] wall=2; [1777] tmp/"),
		},
		{name: "PAX names of 555 bytes", right: "kept", layers: [][]string{{deep + "=1", "l->" + deep}}, want: []string{deep + "=1", "l->" + deep}},
		{name: "empty layers", right: "as without them", layers: [][]string{{}, members("a=1"), {}, {}}, want: members("a=1")},
		{name: "no layers", right: "an empty root", want: nil},
		{name: "the same layer twice", right: "as once", layers: [][]string{members("a=1"), members("b=2"), members("a=1")}, want: members("a=1; b=2")},
		{name: "duplicate members", right: "the last wins", layers: [][]string{members("a=1; d/; b=x; a=2; b->a")}, want: members("a=2; d/; b->a")},
		{name: "names with ./ and /", right: "below the root", layers: [][]string{members("./a=1; /b=2; .//c/./d=3")}, want: members("a=1; b=2; c/d=3")},
		{name: "a name with ..", right: "an error, or inside the image", layers: [][]string{members("a=1; d/../../x=2")}, fails: ".. in name"},
		{name: "directories without members of their own", right: "made", layers: [][]string{members("a/b/c=1")}, want: members("a/b/c=1")},
		{name: "a directory's mode changed above", right: "the new mode, the old files", layers: [][]string{members("d/; d/a=1"), members("[700] d/")}, want: members("[700] d/; d/a=1")},
		{name: fmt.Sprintf("%d layers", levels), right: "all", layers: numbered(levels, 1), want: flat(numbered(levels, 1))},
		{name: fmt.Sprintf("%d files", files), right: "all", layers: numbered(1, files), want: flat(numbered(1, files))},
		{name: "sparse file of 64 MiB", right: "its content", raw: sparse, want: []string{"hole=" + sparseContent()}},
		{name: "nested index", right: "found", layers: [][]string{members("a=1")}, put: nested, want: members("a=1")},
		{name: "index with other platforms first", right: "the host's", layers: [][]string{members("a=1")}, put: besideOthers, want: members("a=1")},
		{name: "index of another platform only", right: "an error that says which", layers: [][]string{members("a=1")}, put: onlyOther, fails: "there is linux/s390x"},
		{name: "Windows image", right: "an error that says so", put: windows, fails: "windows"},
		{name: "an artifact that is no image", right: "an error that says so", put: artifact, fails: "not an image"},
	}
}

// numbered makes layers of numbered files, a thousand to a directory.
func numbered(layers, files int) (all [][]string) {
	for i := range layers {
		var lines []string
		for j := range files {
			// of many sizes: mksquashfs compares each file with all others of its size
			lines = append(lines, fmt.Sprintf("d%d/%d.%d=%d%s", j/1000, i, j, j, strings.Repeat("x", j%997)))
		}
		all = append(all, lines)
	}
	return all
}

func flat(layers [][]string) (all []string) {
	for _, l := range layers {
		all = append(all, l...)
	}
	return all
}

const sparseSize = 64 << 20

func sparseContent() string {
	return "begin" + strings.Repeat("\x00", sparseSize-8) + "end"
}

// layout writes the image of a case into a directory.
func (c trial) layout(t *testing.T, dir string) {
	t.Helper()
	l := layout{t, dir}
	pack := c.pack
	if pack == nil {
		pack = gzipped
	}
	archives := [][]byte{}
	for _, lines := range c.layers {
		archives = append(archives, archive(t, lines))
	}
	if c.raw != nil {
		archives = append(archives, c.raw(t.TempDir()))
	}
	layers := []packed{}
	for _, a := range archives {
		media, data := pack(a)
		layers = append(layers, packed{media, data, digest(a)})
	}
	entry := l.image(architecture, layers)
	if c.put != nil {
		entry = c.put(l, entry)
	}
	l.write(entry)
}
