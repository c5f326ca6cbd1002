package serve

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A directory with very many members is listed completely, and its members are found.
func TestManyMembers(t *testing.T) {
	const members = 10_000
	tree := readable(t)
	first := filepath.Join(tree, "many", "member-0")
	if err := errors.Join(os.Mkdir(filepath.Dir(first), 0o755), os.WriteFile(first, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < members; i++ { // links, for they are made and removed quickly
		if err := os.Symlink("x", filepath.Join(tree, fmt.Sprintf("many/member-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	image := makeImage(t, tree)
	k := start(t, image, 0, "/bin/sh", "-c",
		"cd MOUNT/many; ls -f | sort | uniq | wc -l; ls -fl | wc -l; ls -d member-0 member-1 member-9999 member-5000 member-10000 2>/dev/null | wc -l")
	// With "." and "..", and the line of ls with the total.
	want := fmt.Sprintf("%d\n%d\n4\n", members+2, members+3)
	if got := k.finish(t); got != want {
		t.Errorf("got %q, want %q\n%s", got, want, k.errors)
	}
}

// A damaged file cannot be read, but all others can.
func TestDamage(t *testing.T) {
	tree := readable(t)
	for name, data := range map[string][]byte{"a": content(1, 1<<20), "b": content(2, 1<<20), "c": content(3, 1<<20)} {
		if err := os.WriteFile(filepath.Join(tree, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := makeImage(t, tree)
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	// The files lie in order, each in half a megabyte: this is within the second one.
	clear(data[96+750<<10 : 96+800<<10])
	if err := os.WriteFile(image, data, 0o644); err != nil {
		t.Fatal(err)
	}
	k := start(t, image, 0, "/bin/sh", "-c", "cd MOUNT; for f in a b c a b; do cat $f 2>&1 >/dev/null; echo $f $?; done")
	want := "a 0\ncat: b: Input/output error\nb 1\nc 0\na 0\ncat: b: Input/output error\nb 1\n"
	if got := k.finish(t); strings.ReplaceAll(got, "'", "") != want {
		t.Errorf("got %q", got)
	}
}
