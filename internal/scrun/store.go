package scrun

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/stateroot"
)

// Names of what is being made or removed: no entry begins so.
const (
	newPrefix  = ".ocishim-new-"
	gonePrefix = ".ocishim-gone-"
)

// A Store is a state root: a directory with an entry per container.
type Store struct{ dir string }

// A Container is an entry of a Store; Record is what it held when it was read.
type Container struct {
	Record

	store *Store
	dir   string
}

// Open opens the first of the roots that can be used. Where none exists it is
// made, when create says so; else it is ErrNotFound.
func Open(create bool, roots ...string) (*Store, error) {
	if create {
		dir, err := stateroot.Make(roots...)
		return &Store{dir: dir}, err
	}
	dirs, failures := stateroot.Existing(roots...)
	if len(roots) == 1 && len(failures) == 1 && errors.Is(failures[0], ErrUnsafeRoot) {
		return nil, failures[0]
	}
	if len(dirs) == 0 {
		return nil, ErrNotFound
	}
	return &Store{dir: dirs[0]}, nil
}

// entryName maps an id to the name of a directory, losslessly: what is not a
// letter, digit, '_', '-' or '.' becomes '+' and two hexadecimal digits, as does
// a '.' at the beginning.
func entryName(id string) string {
	var name strings.Builder
	for i := range len(id) {
		c := id[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' && i > 0
		if plain {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, "+%02x", c)
		}
	}
	return name.String()
}

// Get returns the container with the id, or ErrNotFound.
func (s *Store) Get(id string) (*Container, error) {
	c, err := s.load(entryName(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("find container %q in %s: %w", id, s.dir, ErrNotFound)
	}
	return c, err
}

// All returns every container of the store, by name.
func (s *Store) All() ([]*Container, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var all []*Container
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if c, err := s.load(e.Name()); err == nil {
			all = append(all, c)
		}
	}
	return all, nil
}

func (s *Store) load(name string) (*Container, error) {
	dir := filepath.Join(s.dir, name)
	r, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	return &Container{Record: *r, store: s, dir: dir}, nil
}

// claim makes the entry of r, complete from its first moment.
func (s *Store) claim(r Record) (*Container, error) {
	fresh, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return nil, fmt.Errorf("claim container %q: %w", r.ID, err)
	}
	dir := filepath.Join(s.dir, entryName(r.ID))
	if err = r.write(fresh); err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		_ = os.RemoveAll(fresh)
		if errors.Is(err, unix.EEXIST) {
			err = fmt.Errorf("%w in %s", ErrExists, s.dir)
		}
		return nil, fmt.Errorf("claim container %q: %w", r.ID, err)
	}
	return &Container{Record: r, store: s, dir: dir}, nil
}

// update changes the record under the entry's lock, and what c holds of it.
func (c *Container) update(change func(*Record)) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	r, err := readRecord(c.dir)
	if err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	change(r)
	if err := r.write(c.dir); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	c.Record = *r
	return nil
}

// reload reads the record again.
func (c *Container) reload() error {
	r, err := readRecord(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("container %q: %w", c.ID, ErrNotFound)
	}
	if err == nil {
		c.Record = *r
	}
	return err
}

// lock takes the entry's lock, a flock on the directory itself, which the kernel
// drops with its holder. Nobody holds it longer than it takes to write a file.
func (c *Container) lock() (*os.File, error) {
	f, err := os.Open(c.dir)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", c.ID, ErrNotFound)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock container %q: %w", c.ID, err)
	}
	return f, nil
}

// discard removes the entry: it is gone from the store at once, its files soon.
func (c *Container) discard() error {
	gone, err := os.MkdirTemp(c.store.dir, gonePrefix)
	if err != nil {
		return fmt.Errorf("remove container %q: %w", c.ID, err)
	}
	err = os.Rename(c.dir, filepath.Join(gone, "entry"))
	if rerr := os.RemoveAll(gone); err == nil || errors.Is(err, os.ErrNotExist) {
		err = rerr
	}
	if err != nil {
		return fmt.Errorf("remove container %q: %w", c.ID, err)
	}
	return nil
}

// sweepAge is how old something abandoned must be: who makes or removes it may
// still be at it.
const sweepAge = time.Minute

// Sweep removes what killed processes of ours left half made or half removed,
// and ends the containers that nobody will bring any further.
func (s *Store) Sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		if strings.HasPrefix(e.Name(), newPrefix) || strings.HasPrefix(e.Name(), gonePrefix) {
			_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
			continue
		}
		if c, err := s.load(e.Name()); err == nil && c.abandoned() {
			_ = c.Delete(true)
		}
	}
}
