package layers_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
)

// A reference is a root file system to which layers are applied in the simplest way: first what a
// layer removes, then what it has, in order.
type reference map[string]string // "dir" or "file TEXT", by path

func (r reference) remove(path string, self bool) {
	for p := range r {
		if p == path && self || strings.HasPrefix(p, path+"/") || path == "" {
			delete(r, p)
		}
	}
}

func (r reference) parents(path string) {
	for at := range path {
		if path[at] == '/' && r[path[:at]] != "dir" {
			r[path[:at]] = "dir"
		}
	}
}

func (r reference) apply(lines []string) {
	for _, line := range lines {
		path, _, _ := strings.Cut(line, "=")
		dir, name := "", path
		if at := strings.LastIndexByte(path, '/'); at >= 0 {
			dir, name = path[:at], path[at+1:]
		}
		if name == ".wh..wh..opq" && (dir == "" || r[dir] == "dir") {
			r.remove(dir, false)
		} else if name, ok := strings.CutPrefix(name, ".wh."); ok && name != ".wh..opq" && (dir == "" || r[dir] == "dir") {
			r.remove(strings.TrimPrefix(dir+"/"+name, "/"), true)
		}
	}
	for _, line := range lines {
		if strings.Contains(line, ".wh.") {
			continue
		}
		if path, isDir := strings.CutSuffix(line, "/"); isDir {
			r.parents(path)
			r[path] = "dir"
		} else if path, target, isLink := strings.Cut(line, "=>"); isLink {
			r.parents(path)
			is := r[target]
			r.remove(path, true)
			r[path] = is
		} else {
			path, text, _ := strings.Cut(line, "=")
			r.parents(path)
			r.remove(path, true)
			r[path] = "file " + text
		}
	}
}

// lines makes a random layer. A hard link leads to a file of the same layer that the layer does not
// change later.
func lines(random *rand.Rand, text *int) (all []string) {
	path := func() string {
		parts := make([]string, 1+random.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + random.IntN(3)))
		}
		return strings.Join(parts, "/")
	}
	for range random.IntN(8) {
		*text++
		p := path()
		switch random.IntN(10) {
		case 0, 1:
			all = append(all, p+"/")
		case 2:
			at := strings.LastIndexByte(p, '/') + 1
			all = append(all, p[:at]+".wh."+p[at:]+"=")
		case 3:
			all = append(all, p+"/.wh..wh..opq=")
		case 4:
			target := fmt.Sprintf("t%d", *text)
			all = append(all, target+"="+fmt.Sprint(*text), p+"=>"+target)
		default:
			all = append(all, p+"="+fmt.Sprint(*text))
		}
	}
	return all
}

// For any layers, Flatten writes what applying them one after the other gives.
func TestRandomLayers(t *testing.T) {
	again := 0
	for seed := range uint64(2500) {
		random := rand.New(rand.NewPCG(seed, 1))
		want := reference{}
		var all []source.Layer
		var script [][]string
		text := 0
		for range 1 + random.IntN(4) {
			l := lines(random, &text)
			want.apply(l)
			script = append(script, l)
			data := archive(t, l...)
			all = append(all, layer(data, data))
		}
		w, result, err := flatten(t, all)
		if err != nil {
			t.Fatalf("seed %d: %q: %v", seed, script, err)
		}
		if !maps.Equal(map[string]string(want), w.files) {
			t.Fatalf("seed %d: %q:\ngot  %v\nwant %v", seed, script, sorted(w.files), sorted(want))
		}
		if result.Reads > len(all) {
			again++
		}
	}
	if again == 0 {
		t.Error("no image was odd enough for a second read")
	}
	t.Logf("%d were read again", again)
}

func sorted(files map[string]string) (all []string) {
	for _, path := range slices.Sorted(maps.Keys(files)) {
		all = append(all, path+"="+files[path])
	}
	return all
}

// Any bytes are either refused or written within the root file system.
func FuzzFlatten(f *testing.F) {
	for _, seed := range [][]string{{"a/", "a/b=1", "c->a/b", "d=>a/b"}, {"a/.wh.b=", "a/.wh..wh..opq=", "x!"}} {
		f.Add(archive(&testing.T{}, seed...), archive(&testing.T{}, seed...))
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		limits := layers.DefaultLimits()
		limits.Floor, limits.Bytes, limits.Members = 1<<20, 1<<20, 1000
		a, b := layer(nil, lower), layer(nil, upper)
		a.DiffID, b.DiffID = "", ""
		w := new(memory)
		if _, err := layers.Flatten(t.Context(), []source.Layer{a, b}, limits, w, nil); err != nil {
			return
		}
		for path := range w.files {
			if path == "" || strings.HasPrefix(path, "/") || slices.Contains(strings.Split(path, "/"), "..") {
				t.Errorf("written: %q", path)
			}
		}
	})
}
