package scrun

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// A Store is a state root: a directory with an entry per container.
type Store struct{ root entry.Root }

// A Container is a handle on an entry of a Store, with the Record that the entry held when
// it was read.
type Container struct {
	Record

	entry *entry.Entry
}

// MakeStore opens the first of the state roots that exists or can be made; see entry.Make.
func MakeStore(roots ...string) (*Store, error) {
	root, err := entry.Make(roots...)
	if err != nil {
		return nil, err
	}
	return &Store{root: root}, nil
}

// OpenStores opens all of the state roots that can be used; see entry.Open.
func OpenStores(roots ...string) ([]*Store, error) {
	usable, err := entry.Open(roots...)
	if err != nil {
		return nil, err
	}
	var stores []*Store
	for _, root := range usable {
		stores = append(stores, &Store{root: root})
	}
	return stores, nil
}

// Find returns the container with the id from the first of the state roots that has one, or
// entry.ErrNotFound.
func Find(id string, roots ...string) (*Container, error) {
	stores, err := OpenStores(roots...)
	if err != nil {
		return nil, fmt.Errorf("find container %q: %w", id, err)
	}
	for _, s := range stores {
		var c *Container
		if c, err = s.Get(id); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// Get returns the container with the id, or entry.ErrNotFound.
func (s *Store) Get(id string) (*Container, error) {
	name, err := entry.Name(id)
	if err != nil {
		return nil, err
	}
	c, err := s.load(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("find container %q in %s: %w", id, s.root.Dir(), entry.ErrNotFound)
	}
	return c, err
}

// All returns every container of the store, sorted by name.
func (s *Store) All() ([]*Container, error) {
	names, err := s.root.Names()
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var all []*Container
	for _, name := range names {
		if c, err := s.load(name); err == nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// load reads the entry. For a directory that is not an entry it returns os.ErrNotExist.
func (s *Store) load(name string) (*Container, error) {
	c := &Container{entry: s.root.Named(name)}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// read reads the record. If it is garbled, nothing is known about the container, which can
// only be deleted.
func (c *Container) read() error {
	var r Record
	name := c.entry.Name()
	_, err := c.entry.Read(&r, entry.MaxRecord)
	if errors.Is(err, entry.ErrGarbage) {
		c.Record = Record{ID: entry.ID(name), Boot: process.BootID(), Phase: entry.Creating, Released: true}
		return nil
	}
	if err != nil {
		return err
	}
	if own, err := entry.Name(r.ID); err != nil || own != name {
		return fmt.Errorf("read %s: it is the record of %q", c.entry.Dir(), r.ID)
	}
	c.Record = r
	return nil
}

// claim makes the entry of r, complete from the start. It replaces an abandoned one.
func (s *Store) claim(r Record) (*Container, error) {
	by := entry.Maker{ID: r.Creator, Numbering: r.Numbering}
	e, err := s.root.Claim(r.ID, by, &r, func(old *entry.Entry) error {
		c, err := s.load(old.Name())
		if err != nil {
			return err
		}
		return c.removeAbandoned()
	})
	if err != nil {
		return nil, fmt.Errorf("claim container %q: %w", r.ID, err)
	}
	e.Unlock()
	return &Container{Record: r, entry: e}, nil
}

// update changes the record under the entry's lock, and c's copy of it. The lock is held only
// for as long as it takes to write a file, or to remove the container.
func (c *Container) update(change func(*Record)) error {
	if !c.entry.Locked() {
		if err := c.entry.Await(); err != nil {
			return fmt.Errorf("lock container %q: %w", c.ID, err)
		}
		defer c.entry.Unlock()
	}
	if err := c.read(); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	r := c.Record
	change(&r)
	if err := c.entry.Write(&r); err != nil {
		return fmt.Errorf("update container %q: %w", c.ID, err)
	}
	c.Record = r
	return nil
}

// reload reads the record again.
func (c *Container) reload() error {
	err := c.read()
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("container %q: %w", c.ID, entry.ErrNotFound)
	}
	return err
}

// discard removes the entry: it leaves the store at once, and its files are removed then.
func (c *Container) discard() error {
	if err := c.entry.Discard(); err != nil {
		return fmt.Errorf("remove container %q: %w", c.ID, err)
	}
	return nil
}

// Sweep removes what killed processes of ours left half made or half removed, and abandoned
// containers; see entry.Sweep.
func (s *Store) Sweep() {
	s.root.Sweep(entry.NotOver, func(name string, info fs.FileInfo) {
		if !info.IsDir() {
			return
		}
		c, err := s.load(name)
		if err != nil || !c.abandoned() {
			return
		}
		if err := c.removeAbandoned(); err != nil {
			logrus.Debugf("sweep container %q: %v", c.ID, err)
		}
	})
}

// removeAbandoned ends and removes the container, if it is still abandoned when its record is
// read again under the lock. It does not wait for the lock: whoever holds it needs the entry.
func (c *Container) removeAbandoned() error {
	if err := c.entry.TryLock(); err != nil {
		return err
	}
	defer c.entry.Unlock()
	if err := c.reload(); err != nil {
		return err
	}
	if !c.abandoned() {
		return entry.ErrBusy
	}
	return c.Delete(true)
}
