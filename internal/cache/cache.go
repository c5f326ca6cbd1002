// Package cache keeps what was found out about a node or an image in files of the
// user's state, for the next task. Whatever is wrong with such a file, or with writing
// it, is as if there were none: what it held is found out anew.
package cache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	halfPrefix = ".ocishim-new-" // begins the names of what is being written
	halfAge    = time.Minute     // after it nobody writes any more

	// lockPatience is how long one waits for another who finds something out.
	lockPatience = time.Second
)

// ErrUnfit says that a file is none of ours: no regular one, too large, or one that
// somebody else can have written.
var ErrUnfit = errors.New("not written by us")

// Read reads what Write wrote, if nobody but the caller can have written it, and it
// has at most the given number of bytes.
func Read(dir, name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 || st.Size > most {
		return nil, ErrUnfit
	}
	data := make([]byte, st.Size)
	n, err := f.Read(data)
	return data[:n], err
}

// Write makes or replaces a file, by rename. Directory and what leads to it are made,
// for the user alone; what somebody who was killed left half written there goes.
func Write(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	sweep(dir)
	f, err := os.CreateTemp(dir, halfPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close(), os.Rename(f.Name(), filepath.Join(dir, name))); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), halfPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > halfAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Alone waits until nobody else holds the lock of that name, a second at most. The next
// one may go on when it is released, or this process has ended.
func Alone(dir, name string) (release func()) { return alone(dir, name, lockPatience) }

func alone(dir, name string, patience time.Duration) (release func()) {
	release = func() {}
	if os.MkdirAll(dir, 0o700) != nil {
		return release
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return release
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
	}
	return func() { f.Close() }
}
