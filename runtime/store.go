package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// Names of what is being made or removed; no container's entry begins so,
// since ids are escaped, not prefixed, and a root may hold files of others. What is
// made has its maker in its name: pid namespace, pid and start time, with dots between
// them and a dash behind.
const (
	newPrefix  = ".ocishim-new-"
	gonePrefix = inplace.GonePrefix
)

// sweepAge is how long an abandoned entry is left alone: Slurm's cleanup may
// still be on its way, and a young entry need not be read at all.
const sweepAge = time.Minute

// lockPatience is how long a verb waits for another one to finish its work on
// the same container.
const lockPatience = 5 * time.Second

// A Store is a state root: a directory with an entry per container.
type Store struct{ dir string }

// NodeDir is where what is found out about the node can be kept from one call to
// the next: a directory that need not exist yet, in one that is the caller's.
func (s *Store) NodeDir() string { return filepath.Join(s.dir, ".ocishim-node") }

// A Container is a handle on an entry of a Store. Its Record is what the entry
// held when it was read.
type Container struct {
	Record

	store *Store
	dir   string   // the entry
	lock  *os.File // the locked entry, nil when not locked
	size  int64    // of the record as it was read, in bytes
}

// Get returns the container with the id, or ErrNotFound.
func (s *Store) Get(id string) (*Container, error) {
	name, err := entryName(id)
	if err != nil {
		return nil, err
	}
	c, err := s.load(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || err == nil && c.Deleted {
		return nil, fmt.Errorf("find container %q in %s: %w", id, s.dir, ErrNotFound)
	}
	return c, err
}

// maxStepRecords bounds what is read of the records of a step, in bytes, all together: root
// reads them, and a user may have written them.
const maxStepRecords = 16 << 20

// WithPrefix returns the containers whose id is prefix followed by a number:
// the tasks of a Slurm step, those included that were deleted one by one. None
// is ErrNotFound. Of what else lies in the store only the names are looked at, and some
// halves that a killed launch left are removed.
func (s *Store) WithPrefix(prefix string) ([]*Container, error) {
	begin, err := entryName(prefix)
	if err != nil {
		return nil, err
	}
	var found []*Container
	budget, halves := int64(maxStepRecords), 0
	err = s.eachName(func(name string) {
		if strings.HasPrefix(name, newPrefix) && halves < sweepAtOnce {
			halves++
			s.sweepHalf(name)
			return
		}
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
		return nil, fmt.Errorf("find containers %s* in %s: %w", prefix, s.dir, ErrNotFound)
	}
	slices.SortFunc(found, func(a, b *Container) int { return strings.Compare(a.dir, b.dir) })
	return found, nil
}

// eachName calls visit for what lies in the store, in no order, without a list of it all.
func (s *Store) eachName(visit func(name string)) error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			visit(name)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// All returns every container of the store, by name.
func (s *Store) All() ([]*Container, error) {
	all, err := s.loadAll()
	return slices.DeleteFunc(all, func(c *Container) bool { return c.Deleted }), err
}

// loadAll reads every entry. Other files that lie in the directory are none of
// ours and are passed over.
func (s *Store) loadAll() ([]*Container, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var all []*Container
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), newPrefix) {
			s.sweepHalf(e.Name())
		}
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if c, err := s.load(e.Name()); err == nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// load reads the entry; what is no entry of ours is os.ErrNotExist. An entry
// whose record is garbage is one of which nothing is known but that it is to
// be deleted.
func (s *Store) load(name string) (*Container, error) { return s.loadWithin(name, maxRecord) }

// loadWithin takes a record of more bytes than the limit for garbage.
func (s *Store) loadWithin(name string, limit int64) (*Container, error) {
	dir := filepath.Join(s.dir, name)
	r, size, err := readRecord(dir, min(limit, maxRecord))
	if errors.Is(err, errGarbage) {
		return &Container{Record: Record{ID: entryID(name), Boot: process.BootID()}, store: s, dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	if own, err := entryName(r.ID); err != nil || own != name {
		return nil, fmt.Errorf("read %s: it is the record of %q", dir, r.ID)
	}
	r.locate()
	return &Container{Record: *r, store: s, dir: dir, size: size}, nil
}

// claim makes the entry of r, complete from its first moment, and locks it.
// An entry that nobody needs any more gives way: a requeued Slurm job comes
// back with the same id.
func (s *Store) claim(r Record) (*Container, error) {
	name, err := entryName(r.ID)
	if err != nil {
		return nil, err
	}
	fresh, err := os.MkdirTemp(s.dir, fmt.Sprintf("%s%d.%d.%d-", newPrefix, r.Numbering, r.Launcher.Pid, r.Launcher.Start))
	if err != nil {
		return nil, fmt.Errorf("claim container %q: %w", r.ID, err)
	}
	c := &Container{Record: r, store: s, dir: fresh}
	if err := c.settle(name); err != nil {
		c.unlock()
		_ = os.RemoveAll(fresh)
		return nil, fmt.Errorf("claim container %q: %w", r.ID, err)
	}
	return c, nil
}

// settle writes the record and moves the new entry to its name.
func (c *Container) settle(name string) error {
	if err := c.writeFirst(c.dir); err != nil {
		return err
	}
	if err := c.tryLock(); err != nil {
		return err
	}
	dir := filepath.Join(c.store.dir, name)
	err := unix.Renameat2(unix.AT_FDCWD, c.dir, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		old, lerr := c.store.load(name)
		if lerr != nil || old.removeIf(func(r *Record) bool { return r.replaceableBy(&c.Record) }) != nil {
			return fmt.Errorf("%w in %s", ErrExists, c.store.dir)
		}
		err = unix.Renameat2(unix.AT_FDCWD, c.dir, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w in %s", ErrExists, c.store.dir)
	}
	if err != nil {
		return err
	}
	c.dir = dir
	return nil
}

// replaceableBy reports whether the entry gives way to a new one of its id: when
// nobody needs it, and when a requeued Slurm task finds its own tombstone.
func (r *Record) replaceableBy(next *Record) bool {
	tombstone := r.Lifetime.leavesTombstone() && next.Lifetime.leavesTombstone() && !r.elsewhere && !r.alive() && !r.launching() && !r.supervised()
	return tombstone || r.abandoned()
}

// removeIf removes the entry when the condition holds of what its record says
// under the lock. It waits for nobody: who holds the lock needs the entry.
func (c *Container) removeIf(condition func(*Record) bool) error {
	if err := c.tryLock(); err != nil {
		return err
	}
	defer c.unlock()
	if err := c.reload(); err != nil {
		return err
	}
	if !condition(&c.Record) {
		return ErrBusy
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

// tryLock takes the entry's lock without waiting: a flock on the directory
// itself, which the kernel drops with its holder.
func (c *Container) tryLock() error {
	f, err := os.Open(c.dir)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrBusy
		}
		return fmt.Errorf("lock %s: %w", c.dir, err)
	}
	c.lock = f
	if !c.lockedEntry() {
		c.unlock()
		return os.ErrNotExist // removed, and perhaps made anew, before we had the lock
	}
	return nil
}

// lockedEntry tells whether what we locked still has the entry's name.
func (c *Container) lockedEntry() bool {
	locked, err := c.lock.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(c.dir)
	return err == nil && os.SameFile(locked, named)
}

// reload reads the record again, under the lock.
func (c *Container) reload() error {
	again, err := c.store.load(filepath.Base(c.dir))
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	c.Record = again.Record
	return nil
}

// lockPatiently takes the entry's lock and reads its record again. It gives
// ErrBusy after a while, and ErrNotFound when the entry is removed meanwhile.
func (c *Container) lockPatiently() error {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(2 * time.Millisecond) {
		err := c.tryLock()
		if err == nil {
			break
		}
		if errors.Is(err, os.ErrNotExist) {
			return ErrNotFound
		}
		if !errors.Is(err, ErrBusy) || time.Now().After(deadline) {
			return err
		}
	}
	if err := c.reload(); err != nil {
		c.unlock()
		return err
	}
	return nil
}

func (c *Container) unlock() {
	if c.lock != nil {
		c.lock.Close()
		c.lock = nil
	}
}

// discard removes the entry: it is gone from the store at once, its files soon.
func (c *Container) discard() error {
	gone, err := os.MkdirTemp(c.store.dir, gonePrefix)
	if err != nil {
		return fmt.Errorf("remove container %q: %w", c.ID, err)
	}
	err = os.Rename(c.dir, filepath.Join(gone, "entry"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(gone)
		return fmt.Errorf("remove container %q: %w", c.ID, err)
	}
	removeTree(gone)
	if c.SharedBy != "" {
		c.store.leaveStep(c.SharedBy)
	}
	return nil
}

// removeTree removes what it can of a directory that a container may have
// written in: directories without permissions for their owner included. What
// stays behind (files of subordinate ids) is tried again by Sweep.
func removeTree(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		logrus.Debugf("remove %s: %v", dir, err)
	}
}
