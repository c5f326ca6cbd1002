// Package entry keeps the state of a container in a directory of a state root, its entry:
// names, claims, locks, records and their removal.
//
// An entry appears and disappears by rename. A process of ours may be killed at any line: it
// leaves either a complete entry, or a half made or half removed one, which the next call
// sweeps.
package entry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// An Entry is a handle on the directory of a container, which may hold its lock.
type Entry struct {
	root Root
	dir  string
	lock *os.File // the locked directory, nil when not locked
}

// Dir returns the path of the directory.
func (e *Entry) Dir() string { return e.dir }

// Name returns the name of the directory in its root.
func (e *Entry) Name() string { return filepath.Base(e.dir) }

// File returns the path of a file in the directory.
func (e *Entry) File(name string) string { return filepath.Join(e.dir, name) }

// Within returns the directory as a root of further entries.
func (e *Entry) Within() Root { return Root{dir: e.dir} }

// patience is how long Lock waits for another process that works on the container.
const patience = 5 * time.Second

// TryLock takes the entry's lock without waiting: a flock on the directory itself, which the
// kernel releases when its holder ends. It returns ErrBusy if somebody else has the lock, and
// os.ErrNotExist if the entry is gone.
func (e *Entry) TryLock() error { return e.flock(unix.LOCK_EX | unix.LOCK_NB) }

// Lock takes the lock as soon as nobody else has it. It returns ErrBusy after some seconds,
// and ErrNotFound if the entry is removed in the meantime.
func (e *Entry) Lock() error {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		err := e.TryLock()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, os.ErrNotExist):
			return ErrNotFound
		case !errors.Is(err, ErrBusy) || time.Now().After(deadline):
			return err
		}
	}
}

// Await is Lock without a time limit, for entries that nobody locks for long.
func (e *Entry) Await() error {
	err := e.flock(unix.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

func (e *Entry) flock(how int) error {
	f, err := os.Open(e.dir)
	if err != nil {
		return err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), how)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrBusy
		}
		return fmt.Errorf("lock %s: %w", e.dir, err)
	}
	e.lock = f
	if !HasName(f, e.dir) {
		e.Unlock()
		return os.ErrNotExist // removed, and perhaps replaced, before we had the lock
	}
	return nil
}

// Locked reports whether this handle has the lock.
func (e *Entry) Locked() bool { return e.lock != nil }

// Unlock releases the lock, if this handle has it.
func (e *Entry) Unlock() {
	if e.lock != nil {
		e.lock.Close()
		e.lock = nil
	}
}

// HasName reports whether the open file is still the one at the path.
func HasName(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(open, named)
}

// RecordFile is the name of the record within an entry.
const RecordFile = "record.json"

// MaxRecord is how many bytes a record may have at most: root reads it, and a user may have
// written it.
const MaxRecord = 8 << 20

// Read reads the record into the value that record points to, and returns its number of
// bytes. If the directory has no record, it returns os.ErrNotExist; if the record is garbled,
// or longer than limit or MaxRecord, ErrGarbage.
func (e *Entry) Read(record any, limit int64) (int64, error) {
	path := e.File(RecordFile)
	data, err := ReadFile(path, min(limit, MaxRecord))
	if err != nil {
		return 0, err
	}
	if err := bundle.Unmarshal(data, record); err != nil {
		return 0, fmt.Errorf("read %s: %w: %w", path, ErrGarbage, err)
	}
	return int64(len(data)), nil
}

// Write replaces the record by rename: a reader sees either the old or the new one. If the
// entry is gone, Write does nothing, since delete ran in the meantime.
func (e *Entry) Write(record any) error {
	data, err := bundle.Marshal(record)
	if err != nil {
		return err
	}
	path := e.File(RecordFile)
	next := path + ".new"
	err = os.WriteFile(next, data, 0o600)
	if err == nil {
		err = os.Rename(next, path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// writeFirst writes the record of an entry that nobody else can find yet.
func (e *Entry) writeFirst(record any) error {
	data, err := bundle.Marshal(record)
	if err != nil {
		return err
	}
	return os.WriteFile(e.File(RecordFile), data, 0o600)
}

// GoneName returns a name for a new directory beside the entry. A process that cannot call
// Discard removes the entry by moving it into that directory, which is swept later.
func (e *Entry) GoneName() string {
	return gonePrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}

// Discard removes the entry: it leaves its root at once, and its files are removed then. It
// is no error if the entry is gone already.
func (e *Entry) Discard() error {
	gone, err := os.MkdirTemp(e.root.dir, gonePrefix)
	if err != nil {
		return err
	}
	err = os.Rename(e.dir, filepath.Join(gone, "entry"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(gone)
		return err
	}
	RemoveTree(gone)
	return nil
}
