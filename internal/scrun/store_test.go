package scrun

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/process"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(true, filepath.Join(t.TempDir(), "state"))
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
		if _, err := s.claim(Record{ID: name}); !errors.Is(err, ErrExists) {
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
	if _, err := s.Get("box"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := c.update(func(*Record) {}); !errors.Is(err, ErrNotFound) {
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
		if _, err := Open(true, root); !errors.Is(err, ErrUnsafeRoot) {
			t.Errorf("%s: %v", root, err)
		}
	}
	if s, err := Open(true, writable, filepath.Join(dir, "own")); err != nil || s.dir != filepath.Join(dir, "own") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Open(false, filepath.Join(dir, "none")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// The state is what the processes are, not what the record hopes.
func TestStatus(t *testing.T) {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	dead := process.ID{Pid: os.Getpid(), Start: self.Start + 1} // the pid was somebody else's
	boot := process.BootID()
	for name, tt := range map[string]struct {
		r    Record
		want Phase
	}{
		"being created":        {Record{Phase: Creating, Boot: boot, Creator: self}, Creating},
		"create was killed":    {Record{Phase: Creating, Boot: boot, Creator: dead}, Stopped},
		"created":              {Record{Phase: Created, Boot: boot, Anchor: self}, Created},
		"anchor was killed":    {Record{Phase: Running, Boot: boot, Anchor: dead}, Stopped},
		"running":              {Record{Phase: Running, Boot: boot, Anchor: self}, Running},
		"paused":               {Record{Phase: Running, Boot: boot, Anchor: self, Paused: true}, Paused},
		"of another boot":      {Record{Phase: Running, Boot: "other", Anchor: self}, Stopped},
		"ended":                {Record{Phase: Stopped, Boot: boot, Anchor: dead}, Stopped},
		"ended, anchor lives":  {Record{Phase: Stopped, Boot: boot, Anchor: self}, Stopped},
		"paused, anchor ended": {Record{Phase: Running, Boot: boot, Anchor: dead, Paused: true}, Stopped},
	} {
		if got := tt.r.Status(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// Swept is what killed processes left, after a while; nothing of anybody who lives.
func TestSweep(t *testing.T) {
	s := newStore(t)
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * sweepAge)
	for name, r := range map[string]Record{
		"mine":      {Creator: self, Phase: Creating, Boot: process.BootID()},
		"abandoned": {Creator: process.ID{Pid: 1 << 30}, Phase: Creating, Boot: process.BootID(), Released: true},
		"ended":     {Creator: process.ID{Pid: 1 << 30}, Phase: Stopped, Boot: process.BootID()}, // waits for delete
	} {
		r.ID = name
		c, err := s.claim(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(c.dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{newPrefix + "1", gonePrefix + "1"} {
		dir := filepath.Join(s.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.Sweep()
	entries, err := os.ReadDir(s.dir)
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
