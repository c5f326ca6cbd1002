package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// A Store is a state root: a directory with an entry per container.
type Store struct{ root entry.Root }

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

// NodeDir returns the directory in which facts about the host can be cached between calls.
// It need not exist yet; the directory above it is the caller's.
func (s *Store) NodeDir() string { return s.root.File(".ocishim-node") }

// A Container is a handle on an entry of a Store, with the Record that the entry held when
// it was read.
type Container struct {
	Record

	store *Store
	entry *entry.Entry
	size  int64 // bytes of the record as it was read
}

// dir returns the path of the entry.
func (c *Container) dir() string { return c.entry.Dir() }

// Get returns the container with the id, or entry.ErrNotFound.
func (s *Store) Get(id string) (*Container, error) {
	name, err := entry.Name(id)
	if err != nil {
		return nil, err
	}
	c, err := s.load(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || err == nil && c.Deleted {
		return nil, fmt.Errorf("find container %q in %s: %w", id, s.root.Dir(), entry.ErrNotFound)
	}
	return c, err
}

// maxStepRecords is how many bytes of a step's records are read at most, in total: root
// reads them, and a user may have written them.
const maxStepRecords = 16 << 20

// WithPrefix returns the containers whose id is prefix followed by a number: the tasks of a
// Slurm step, including those that were deleted one by one. Without any it returns
// entry.ErrNotFound. Of other entries it reads only the names. On the way it removes some
// half made entries of killed launches.
func (s *Store) WithPrefix(prefix string) ([]*Container, error) {
	begin, err := entry.Name(prefix)
	if err != nil {
		return nil, err
	}
	var found []*Container
	budget := int64(maxStepRecords)
	err = s.root.EachName(func(name string) {
		rest, ok := strings.CutPrefix(name, begin)
		if !ok || rest == "" || strings.Trim(rest, "0123456789") != "" {
			return
		}
		if c, err := s.loadWithin(name, budget); err == nil {
			budget -= c.size
			found = append(found, c)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("find containers %s* in %s: %w", prefix, s.root.Dir(), entry.ErrNotFound)
	}
	slices.SortFunc(found, func(a, b *Container) int { return strings.Compare(a.dir(), b.dir()) })
	return found, nil
}

// All returns every container of the store, sorted by name. It skips directories that are
// not entries.
func (s *Store) All() ([]*Container, error) {
	names, err := s.root.Names()
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var all []*Container
	for _, name := range names {
		if c, err := s.load(name); err == nil && !c.Deleted {
			all = append(all, c)
		}
	}
	return all, nil
}

// load reads the entry. For a directory that is not an entry it returns os.ErrNotExist. For
// an entry with a garbled record it returns a container about which nothing is known, so
// that it can be deleted.
func (s *Store) load(name string) (*Container, error) { return s.loadWithin(name, entry.MaxRecord) }

// loadWithin is load, but treats a record with more bytes than the limit as garbled.
func (s *Store) loadWithin(name string, limit int64) (*Container, error) {
	c := &Container{store: s, entry: s.root.Named(name)}
	err := c.read(limit)
	if errors.Is(err, entry.ErrGarbage) {
		c.Record = Record{ID: entry.ID(name), Boot: process.BootID()}
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if own, err := entry.Name(c.ID); err != nil || own != name {
		return nil, fmt.Errorf("read %s: it is the record of %q", c.dir(), c.ID)
	}
	c.locate()
	return c, nil
}

// claim makes the entry of r, complete from the start, and locks it. It replaces an entry
// that nobody needs any more: a requeued Slurm job comes back with the same id.
func (s *Store) claim(r Record) (*Container, error) {
	by := entry.Maker{ID: r.Launcher, Numbering: r.Numbering}
	e, err := s.root.Claim(r.ID, by, r.onDisk(), func(old *entry.Entry) error {
		c, err := s.load(old.Name())
		if err != nil {
			return err
		}
		return c.removeIf(func(old *Record) bool { return old.replaceableBy(&r) })
	})
	if err != nil {
		return nil, fmt.Errorf("claim container %q: %w", r.ID, err)
	}
	return &Container{Record: r, store: s, entry: e}, nil
}

// replaceableBy reports whether a new entry with the same id may replace this one: if nobody
// needs it, or if it is the tombstone of a Slurm task that was requeued.
func (r *Record) replaceableBy(next *Record) bool {
	tombstone := r.Lifetime.leavesTombstone() && next.Lifetime.leavesTombstone() && !r.elsewhere && !r.alive() && !r.launching() && !r.supervised()
	return tombstone || r.abandoned()
}

// removeIf removes the entry if the condition holds for its record, read again under the
// lock. It does not wait for the lock: whoever holds it needs the entry.
func (c *Container) removeIf(condition func(*Record) bool) error {
	if err := c.entry.TryLock(); err != nil {
		return err
	}
	defer c.entry.Unlock()
	if err := c.reload(); err != nil {
		return err
	}
	if !condition(&c.Record) {
		return entry.ErrBusy
	}
	if c.alive() {
		if err := c.end(); err != nil {
			return err
		}
	}
	if err := c.dismantle(); err != nil {
		return err
	}
	return c.discard()
}

// reload reads the record again, under the lock.
func (c *Container) reload() error {
	again, err := c.store.load(c.entry.Name())
	if errors.Is(err, os.ErrNotExist) {
		return entry.ErrNotFound
	}
	if err != nil {
		return err
	}
	c.Record = again.Record
	return nil
}

// lock takes the entry's lock and reads its record again; see entry.Lock.
func (c *Container) lock() error {
	if err := c.entry.Lock(); err != nil {
		return err
	}
	if err := c.reload(); err != nil {
		c.entry.Unlock()
		return err
	}
	return nil
}

// discard removes the entry, and the file of its step if no task of that is alive.
func (c *Container) discard() error {
	if err := c.entry.Discard(); err != nil {
		return fmt.Errorf("remove container %q: %w", c.ID, err)
	}
	c.leaveLayer()
	if c.SharedBy != "" {
		c.store.leaveStep(c.SharedBy)
	}
	return nil
}
