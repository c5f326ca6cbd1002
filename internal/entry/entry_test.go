package entry

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
)

func testRoot(t *testing.T) Root {
	t.Helper()
	r, err := Make(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type note struct{ Text string }

func self(t *testing.T) Maker {
	t.Helper()
	p, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return Maker{ID: p, Numbering: process.Numbering()}
}

// If many claim an id at once, one gets it, and its record exists from the start.
func TestClaim(t *testing.T) {
	r, maker := testRoot(t), self(t)
	var wg sync.WaitGroup
	errs := make([]error, 32)
	for i := range errs {
		wg.Go(func() { _, errs[i] = r.Claim("same", maker, note{"x"}, nil) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrExists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d claimed the id, want 1", won, len(errs))
	}
	var n note
	if _, err := r.Named("same").Read(&n, MaxRecord); err != nil || n.Text != "x" {
		t.Errorf("%+v, %v", n, err)
	}
	if names, err := r.Names(); err != nil || len(names) != 1 {
		t.Errorf("left: %q, %v", names, err)
	}
}

// A new entry takes the place of an old one only if replace has removed that.
func TestReplace(t *testing.T) {
	r, maker := testRoot(t), self(t)
	refused := errors.New("refused")
	for name, tt := range map[string]struct {
		replace func(*Entry) error
		want    error
	}{
		"nobody asked":    {nil, ErrExists},
		"refused":         {func(*Entry) error { return refused }, ErrExists},
		"said, not done":  {func(*Entry) error { return nil }, ErrExists},
		"removed":         {(*Entry).Discard, nil},
		"removed by lock": {func(e *Entry) error { return errors.Join(e.TryLock(), e.Discard()) }, nil},
	} {
		old, err := r.Claim("c", maker, note{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		old.Unlock()
		next, err := r.Claim("c", maker, note{"next"}, tt.replace)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		for _, e := range []*Entry{next, old} {
			if e != nil {
				_ = e.Discard()
			}
		}
	}
}

// A lock is on the entry that has the name now, not on one that had it before.
func TestLock(t *testing.T) {
	r := testRoot(t)
	first, err := r.Claim("c", self(t), note{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := r.Named("c")
	if err := other.TryLock(); !errors.Is(err, ErrBusy) || other.Locked() {
		t.Errorf("locked twice: %v", err)
	}
	gone := make(chan error)
	waiting := r.Named("c")
	go func() { gone <- waiting.Await() }()
	if err := first.Discard(); err != nil {
		t.Fatal(err)
	}
	first.Unlock()
	if err := <-gone; !errors.Is(err, ErrNotFound) {
		t.Errorf("of an entry that was removed meanwhile: %v", err)
	}
	for name, err := range map[string]error{"Lock": other.Lock(), "Await": other.Await()} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of what is gone: %v", name, err)
		}
	}
	if err := first.Write(note{"late"}); err != nil {
		t.Errorf("delete has the last word: %v", err)
	}
	if err := first.Discard(); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

// An id may look like the name of a half made entry; it is not swept as one.
func TestSweepLeavesIDs(t *testing.T) {
	r := testRoot(t)
	for _, id := range []string{newPrefix + "1", gonePrefix + "1", ".hidden"} {
		e, err := r.Claim(id, self(t), note{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Unlock()
		old := time.Now().Add(-2 * SweepAge)
		if err := os.Chtimes(e.Dir(), old, old); err != nil {
			t.Fatal(err)
		}
	}
	visited := 0
	r.Sweep(NotOver, func(string, os.FileInfo) { visited++ })
	if names, err := r.Names(); err != nil || len(names) != 3 || visited != 3 {
		t.Errorf("left: %q, visited %d, %v", names, visited, err)
	}
}

// A user's link is not followed, a pipe not waited for, and a huge file not read.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(path, 4); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(path, link), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]int64{path: 3, link: 100, pipe: 100, dir: 1 << 20} {
		if _, err := ReadFile(name, limit); !errors.Is(err, ErrGarbage) {
			t.Errorf("%s: %v, want ErrGarbage", name, err)
		}
	}
	if _, err := ReadFile(filepath.Join(dir, "none"), 100); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Two paths of one directory, such as those of a runtime directory, are one root: what is in it is
// listed once.
func TestOpenOnce(t *testing.T) {
	parent := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(parent, "a"), filepath.Join(parent, "b")
	roots, err := Open(a, parent+"/b/../a", b, a)
	if err != nil || len(roots) != 2 || roots[0].Dir() != a || roots[1].Dir() != b {
		t.Errorf("got %v, %v", roots, err)
	}
}
