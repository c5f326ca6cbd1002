package storage

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/process"
)

// A lease is taken over if its holder is dead or silent for too long, but not if it is renewed.
func TestLease(t *testing.T) {
	s := open(t, place(t))
	l, _, err := s.take("x", "job 1")
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	if other, holder, err := s.take("x", ""); other != nil || err != nil || holder.Job != "job 1" {
		t.Fatalf("%v, %+v, %v", other, holder, err)
	}
	path := filepath.Join(s.Path, image.LeasesDir, "x")
	old := time.Now().Add(-2 * leaseAge)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	second, _, err := s.take("x", "job 2")
	if err != nil || second == nil {
		t.Fatal(second, err)
	}
	if err := l.release(); err != nil { // another process holds it now
		t.Error(err)
	}
	if _, holder, err := s.take("x", ""); err != nil || holder.Job != "job 2" {
		t.Errorf("%+v, %v", holder, err)
	}
	if err := second.release(); err != nil {
		t.Error(err)
	}
	dead, err := json.Marshal(Holder{Host: s.host, Boot: process.BootID(), Process: process.ID{Pid: 1 << 22, Start: 1}, Pids: process.Numbering()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, dead, 0o644); err != nil {
		t.Fatal(err)
	}
	third, _, err := s.take("x", "")
	if err != nil || third == nil {
		t.Fatal(third, err)
	}
	s.renewal = time.Millisecond
	if err := third.release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if names := left(t, s); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
