package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/text"
)

// A Use records, as JSON, that a process uses an image, so that the image is not evicted
// meanwhile. On the same host and boot the use ends with the process. Other hosts cannot see
// the process: for them it ends at Until, the end of the job's time.
type Use struct {
	Host    string     `json:"host"`
	Boot    string     `json:"boot"` // process.BootID
	Process process.ID `json:"process"`
	Pids    uint64     `json:"pids"` // the pid namespace, process.Numbering
	Job     string     `json:"job,omitempty"`
	Until   time.Time  `json:"until"`
}

// Ended reports whether the use has ended, as far as the given host can see.
func (u Use) Ended(host, boot string, now time.Time) bool {
	if u.Host == host && u.Boot != boot {
		return true
	}
	if u.Host == host && u.Pids == process.Numbering() {
		return !u.Process.Alive()
	}
	return now.After(u.Until)
}

// Mark records that the image is in use. If the store is read-only or belongs to somebody
// else, it records nothing and returns no error: the store's owner has to keep images for as
// long as jobs may last. It fails with ErrNotFound if the image was removed after it was
// found. Eviction checks the marks again after moving an image away, so that either Mark or
// the eviction notices the other.
func (i *Image) Mark(u Use) error {
	err := i.mark(u)
	if errors.Is(err, unix.EROFS) || errors.Is(err, os.ErrPermission) {
		return nil
	}
	if err == nil {
		err = i.isThere()
	}
	if err != nil {
		return fmt.Errorf("mark %s as used: %w", text.Printable(i.Path), err)
	}
	return nil
}

// isThere fails with ErrNotFound unless the store still has this very image.
func (i *Image) isThere() error {
	images, err := i.Store.within(ImagesDir)
	if err != nil {
		return err
	}
	defer images.Close()
	var there, found unix.Stat_t
	if err := unix.Fstat(int(i.dir.Fd()), &found); err != nil {
		return err
	}
	err = unix.Fstatat(int(images.Fd()), i.Entry(), &there, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || err == nil && (there.Ino != found.Ino || there.Dev != found.Dev) {
		return ErrNotFound
	}
	return err
}

func (i *Image) mark(u Use) error {
	data, err := json.Marshal(u)
	if err != nil {
		return err
	}
	store, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(i.Store.dir.Fd())))
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	dir := UsesDir + "/" + i.Entry()
	if err := store.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("%s/%s.%d.%d", dir, RefFile(u.Host), u.Process.Pid, u.Process.Start)
	if err := store.WriteFile(name+".new", data, 0o644); err != nil {
		return err
	}
	return store.Rename(name+".new", name)
}

// Uses returns the uses of the image in the directory called entry, by file name. It skips
// files that cannot be read.
func (s *Store) Uses(entry string) (uses map[string]Use) {
	dir, err := s.within(UsesDir + "/" + entry)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	uses = map[string]Use{}
	for _, name := range names {
		var u Use
		if err := s.read(dir, name, 1<<16, &u); err == nil {
			uses[name] = u
		}
	}
	return uses
}
