// Package cache keeps findings about a host or an image in files of the user's state, for the next
// task. A file that is wrong or cannot be written counts as missing: its content is found out
// again.
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
	halfPrefix = ".ocishim-new-" // begins the names of files that are being written
	halfAge    = time.Minute     // after this time their writer is gone

	// lockPatience is how long a process waits for another that is finding something out.
	lockPatience = time.Second
)

// ErrUnfit says that Write did not write the file: it is not a regular file, is too large, or could
// have been written by another user.
var ErrUnfit = errors.New("not written by us")

// Read returns what Write wrote, if nobody but the caller can have written it and it has at most
// the given number of bytes.
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

// Write makes or replaces a file, by rename. It makes the directory and its parents, for the user
// alone, and removes what a killed process has left half written there.
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

// Alone waits until nobody else holds the lock of that name, for at most a second. The lock ends
// with release, or with this process.
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
