// Package entry keeps what is known of a container in a directory of a state root, its
// entry: names, claims, locks, records and their removal.
//
// An entry appears and disappears by rename. A process of ours may be killed at any line,
// and what it leaves is either a whole entry or half of one, which the next call sweeps.
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

// An Entry is a handle on the directory of a container. It is locked or it is not.
type Entry struct {
	root Root
	dir  string
	lock *os.File // the locked directory, nil when not locked
}

// Dir is the path of the directory.
func (e *Entry) Dir() string { return e.dir }

// Name is the name of the directory in its root.
func (e *Entry) Name() string { return filepath.Base(e.dir) }

// File is the path of a file in the directory.
func (e *Entry) File(name string) string { return filepath.Join(e.dir, name) }

// Within is the directory as a root of further entries.
func (e *Entry) Within() Root { return Root{dir: e.dir} }

// patience is how long Lock waits for whoever works on the same container.
const patience = 5 * time.Second

// TryLock takes the entry's lock without waiting: a flock on the directory itself, which
// the kernel drops with its holder. It is ErrBusy when somebody else has it, and
// os.ErrNotExist when the entry has gone.
func (e *Entry) TryLock() error { return e.flock(unix.LOCK_EX | unix.LOCK_NB) }

// Lock takes the lock as soon as nobody else has it. It is ErrBusy after some seconds, and
// ErrNotFound when the entry goes meanwhile.
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

// Await is Lock without a limit, for entries whose lock nobody has for long.
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
		return os.ErrNotExist // removed, and perhaps made anew, before we had the lock
	}
	return nil
}

// Locked reports whether this handle has the lock.
func (e *Entry) Locked() bool { return e.lock != nil }

// Unlock lets the lock go, where this handle has it.
func (e *Entry) Unlock() {
	if e.lock != nil {
		e.lock.Close()
		e.lock = nil
	}
}

// HasName reports whether the open file is what the path leads to.
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

// MaxRecord bounds what is read of a record, in bytes: root reads it, and a user may have
// written it.
const MaxRecord = 8 << 20

// Read reads the record into the value that record points to, and returns how many bytes
// it has. What is no entry of ours is os.ErrNotExist; a record that is none, or that has
// more bytes than limit or MaxRecord, is ErrGarbage.
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

// Write replaces the record by rename: a reader sees all of it or the last one. That the
// entry has gone is no error: delete ran in the meantime and has the last word.
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

// writeFirst writes the record of an entry that nobody else knows yet.
func (e *Entry) writeFirst(record any) error {
	data, err := bundle.Marshal(record)
	if err != nil {
		return err
	}
	return os.WriteFile(e.File(RecordFile), data, 0o600)
}

// GoneName is the name of a new directory beside the entry, which whoever cannot call
// Discard may move the entry into to remove it: what is left there is swept.
func (e *Entry) GoneName() string {
	return gonePrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}

// Discard removes the entry: it is gone from its root at once, its files soon. One that is
// gone already is no error.
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
