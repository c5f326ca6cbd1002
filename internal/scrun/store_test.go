package scrun

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/stateroot"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := MakeStore(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"box", "a.b+c@d", ".hidden"} {
		if _, err := s.claim(Record{ID: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.claim(Record{ID: name}); !errors.Is(err, entry.ErrExists) {
			t.Errorf("claimed twice: %v", err)
		}
		c, err := s.Get(name)
		if err != nil || c.ID != name {
			t.Errorf("%q: %+v, %v", name, c, err)
		}
	}
	if all, err := s.All(); err != nil || len(all) != 3 {
		t.Errorf("%d containers, %v", len(all), err)
	}
	c, _ := s.Get("box")
	if err := c.update(func(r *Record) { r.Job = "7" }); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Get("box"); err != nil || again.Job != "7" {
		t.Errorf("%+v, %v", again, err)
	}
	if err := c.discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("box"); !errors.Is(err, entry.ErrNotFound) {
		t.Error(err)
	}
	if err := c.update(func(*Record) {}); !errors.Is(err, entry.ErrNotFound) {
		t.Errorf("updated after its end: %v", err)
	}
}

func TestUnsafeRoots(t *testing.T) {
	dir := t.TempDir()
	writable, link := filepath.Join(dir, "writable"), filepath.Join(dir, "link")
	if err := os.Mkdir(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(writable, link); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{writable, link} {
		if _, err := MakeStore(root); !errors.Is(err, stateroot.ErrUnsafe) {
			t.Errorf("%s: %v", root, err)
		}
	}
	if s, err := MakeStore(writable, filepath.Join(dir, "own")); err != nil || s.root.Dir() != filepath.Join(dir, "own") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := OpenStores(filepath.Join(dir, "none")); !errors.Is(err, entry.ErrNotFound) {
		t.Error(err)
	}
}

// The status depends on the living processes, not only on the recorded phase.
func TestStatus(t *testing.T) {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	dead := process.ID{Pid: os.Getpid(), Start: self.Start + 1} // the pid was somebody else's
	boot := process.BootID()
	for name, tt := range map[string]struct {
		r    Record
		want entry.Status
	}{
		"being created":        {Record{Phase: entry.Creating, Boot: boot, Creator: self}, entry.Creating},
		"create was killed":    {Record{Phase: entry.Creating, Boot: boot, Creator: dead}, entry.Stopped},
		"created":              {Record{Phase: entry.Created, Boot: boot, Anchor: self}, entry.Created},
		"anchor was killed":    {Record{Phase: entry.Running, Boot: boot, Anchor: dead}, entry.Stopped},
		"running":              {Record{Phase: entry.Running, Boot: boot, Anchor: self}, entry.Running},
		"paused":               {Record{Phase: entry.Running, Boot: boot, Anchor: self, Paused: true}, entry.Paused},
		"of another boot":      {Record{Phase: entry.Running, Boot: "other", Anchor: self}, entry.Stopped},
		"ended":                {Record{Phase: entry.Stopped, Boot: boot, Anchor: dead}, entry.Stopped},
		"ended, anchor lives":  {Record{Phase: entry.Stopped, Boot: boot, Anchor: self}, entry.Stopped},
		"paused, anchor ended": {Record{Phase: entry.Running, Boot: boot, Anchor: dead, Paused: true}, entry.Stopped},
	} {
		if got := tt.r.Status(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// Sweep removes what killed processes left, after a while, and nothing of living ones.
func TestSweep(t *testing.T) {
	s := newStore(t)
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * entry.SweepAge)
	for name, r := range map[string]Record{
		"mine":      {Creator: self, Phase: entry.Creating, Boot: process.BootID()},
		"abandoned": {Creator: process.ID{Pid: 1 << 30}, Phase: entry.Creating, Boot: process.BootID(), Released: true},
		"ended":     {Creator: process.ID{Pid: 1 << 30}, Phase: entry.Stopped, Boot: process.BootID()}, // waits for delete
	} {
		r.ID = name
		c, err := s.claim(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(c.entry.Dir(), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".ocishim-new-1", ".ocishim-gone-1"} {
		dir := filepath.Join(s.root.Dir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.Sweep()
	entries, err := os.ReadDir(s.root.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 2 || names[0] != "ended" || names[1] != "mine" {
		t.Errorf("left are %q", names)
	}
}

// An entry that is half made, because its maker was killed, is swept at once and not listed.
func TestHalfMade(t *testing.T) {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, look := range map[string]func(*Store) error{
		"sweep": func(s *Store) error { s.Sweep(); return nil },
		"list":  func(s *Store) error { _, err := s.All(); return err },
	} {
		s := newStore(t)
		half := func(start uint64) string {
			dir := s.root.File(fmt.Sprintf(".ocishim-new-%d.%d.%d-1", process.Numbering(), self.Pid, start))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			return dir
		}
		dead, alive := half(self.Start+1), half(self.Start)
		if err := look(s); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: of a maker that was killed: %v", name, err)
		}
		if _, err := os.Stat(alive); err != nil {
			t.Errorf("%s: of a maker that lives: %v", name, err)
		}
	}
}

// A record that was garbled by a crash of the host does not block its id, and has no job.
func TestGarbage(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"truncated": func(p string) error { return os.Truncate(p, 3) },
		"a link":    func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/dev/zero", p)) },
		"a pipe":    func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) },
		"huge":      func(p string) error { return os.Truncate(p, entry.MaxRecord+1) },
	} {
		s := newStore(t)
		c, err := s.claim(Record{ID: "a@b", Phase: entry.Stopped})
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(c.entry.File(entry.RecordFile)); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get("a@b")
		if err != nil || got.ID != "a@b" || got.Status() != entry.Stopped {
			t.Fatalf("%s: %+v, %v, want a stopped container", name, got, err)
		}
		if again, err := s.claim(Record{ID: "a@b", Phase: entry.Stopped, Released: true}); err != nil {
			t.Errorf("%s: claimed again: %v", name, err)
		} else if err := again.Delete(false); err != nil {
			t.Errorf("%s: deleted: %v", name, err)
		}
	}
}

// The id of an abandoned container is free; the id of one that has ended is not, until
// delete.
func TestClaimAgain(t *testing.T) {
	dead := process.ID{Pid: 1 << 30}
	for name, tt := range map[string]struct {
		old  Record
		want error
	}{
		"create was killed": {Record{Phase: entry.Creating, Boot: process.BootID(), Creator: dead, Released: true}, nil},
		"of another boot":   {Record{Phase: entry.Running, Boot: "other", Released: true}, nil},
		"ended":             {Record{Phase: entry.Stopped, Boot: process.BootID()}, entry.ErrExists},
	} {
		s := newStore(t)
		tt.old.ID = "box"
		if _, err := s.claim(tt.old); err != nil {
			t.Fatal(err)
		}
		if _, err := s.claim(Record{ID: "box", Token: "new"}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// A container that was found abandoned, but has a new owner since, is left alone.
func TestAbandonedNoMore(t *testing.T) {
	s := newStore(t)
	c, err := s.claim(Record{ID: "box", Phase: entry.Creating, Creator: process.ID{Pid: 1 << 30}, Boot: process.BootID(), Released: true})
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Get("box")
	if err != nil || !found.abandoned() {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := c.update(func(r *Record) { r.Phase = entry.Stopped }); err != nil {
		t.Fatal(err)
	}
	if err := found.removeAbandoned(); !errors.Is(err, entry.ErrBusy) {
		t.Errorf("removed: %v", err)
	}
	if _, err := s.Get("box"); err != nil {
		t.Error(err)
	}
}

// A container is found in whatever root it was made in: the first one may not have been
// usable then, or may be gone now.
func TestFind(t *testing.T) {
	first, second := newStore(t), newStore(t)
	roots := []string{filepath.Join(t.TempDir(), "none"), first.root.Dir(), second.root.Dir()}
	if _, err := second.claim(Record{ID: "box"}); err != nil {
		t.Fatal(err)
	}
	if c, err := Find("box", roots...); err != nil || c.ID != "box" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, roots := range [][]string{roots, roots[:1]} {
		if c, err := Find("other", roots...); c != nil || !errors.Is(err, entry.ErrNotFound) {
			t.Errorf("%q: %+v, %v", roots, c, err)
		}
	}
}

// A record that was moved, or copied from another store, is not believed.
func TestForeignRecord(t *testing.T) {
	s := newStore(t)
	c, err := s.claim(Record{ID: "real"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.entry.Dir(), s.root.File("other")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("other"); err == nil {
		t.Errorf("Get gives %+v", got.Record)
	}
}
