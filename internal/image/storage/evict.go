package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/rootfs"
	"github.com/ocishim/ocishim/internal/process"
)

// ErrUsed says that a job uses an image.
var ErrUsed = errors.New("in use")

// openEntry opens the image in the directory called entry.
func (s *Store) openEntry(entry string) (*image.Image, error) {
	hex, format, _ := strings.Cut(entry, ".")
	return s.Store.Open(image.Digest("sha256:"+hex), image.Format(format))
}

// discard moves an entry to the trash. Processes that have it open can go on; it is deleted after
// the grace time.
func (s *Store) discard(entry string) error {
	_, err := s.moveAway(entry)
	return err
}

// discardUnused moves an entry to the trash, unless it is in use. If a start that has already found
// the image marks it at the same moment, the entry is put back (see Image.Mark).
func (s *Store) discardUnused(entry string) (use image.Use, used bool, err error) {
	if use, used := s.used(entry); used {
		return use, true, nil
	}
	trash, err := s.moveAway(entry)
	if err != nil {
		return use, false, err
	}
	if use, used = s.used(entry); used {
		if err := s.root.Rename(trash, filepath.Join(image.ImagesDir, entry)); err != nil {
			return use, true, fmt.Errorf("put %s back: %w", entry, err)
		}
	}
	return use, used, nil
}

func (s *Store) moveAway(entry string) (trash string, err error) {
	trash = filepath.Join(image.TrashDir, s.name())
	if err := s.root.Rename(filepath.Join(image.ImagesDir, entry), trash); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("remove %s: %w", entry, err)
	}
	// The grace time begins now. A rename does not change a directory's own time.
	now := time.Now()
	if err := s.root.Chtimes(trash, now, now); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("remove %s: %w", entry, err)
	}
	return trash, nil
}

// Remove removes an image in all its formats. It fails with ErrUsed while a job uses the image.
func (s *Store) Remove(digest image.Digest) error {
	hex, err := digest.Hex()
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	found := false
	for _, format := range []image.Format{image.Squashfs, image.Tree} {
		entry := hex + "." + string(format)
		if _, err := s.root.Lstat(filepath.Join(image.ImagesDir, entry)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		found = true
		use, used, err := s.discardUnused(entry)
		if err != nil {
			return err
		}
		if used {
			return fmt.Errorf("remove image %s: %w by process %d on %s, job %q", digest, ErrUsed, use.Process.Pid, use.Host, use.Job)
		}
	}
	if !found {
		return fmt.Errorf("remove image %s: %w", digest, image.ErrNotFound)
	}
	return s.forget()
}

// forget removes the names of images that the store does not have.
func (s *Store) forget() error {
	refs, _, err := s.Refs()
	if err != nil {
		return err
	}
	for _, ref := range refs {
		found, _, err := image.Stores{s.Store}.Find(ref.Digest)
		if err == nil {
			found.Close() //nolint:errcheck // only read
			continue
		}
		if err := s.root.Remove(filepath.Join(image.RefsDir, image.RefFile(ref.Name))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget name %s: %w", ref.Name, err)
		}
	}
	return nil
}

// used returns a process that uses the entry, and removes the marks of those that have ended.
func (s *Store) used(entry string) (use image.Use, used bool) {
	for file, u := range s.Uses(entry) {
		if !u.Ended(s.host, process.BootID(), time.Now()) {
			use, used = u, true
			continue
		}
		_ = s.root.Remove(filepath.Join(image.UsesDir, entry, file))
	}
	if !used {
		_ = s.root.Remove(filepath.Join(image.UsesDir, entry)) // only if it is empty
	}
	return use, used
}

// oldestJob is how long what names meant for a job is kept, from when the last one was noted.
const oldestJob = 31 * 24 * time.Hour

// forgetJobs removes what names meant for jobs that must be over.
func (s *Store) forgetJobs() error {
	jobs, err := fs.ReadDir(s.root.FS(), image.PinsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, job := range jobs {
		info, ierr := job.Info()
		if ierr == nil && time.Since(info.ModTime()) > oldestJob {
			ierr = s.root.RemoveAll(filepath.Join(image.PinsDir, job.Name()))
		}
		if ierr != nil && !errors.Is(ierr, os.ErrNotExist) {
			err = errors.Join(err, ierr)
		}
	}
	if err != nil {
		return fmt.Errorf("forget names of old jobs: %w", err)
	}
	return nil
}

// A Freed says what Evict did.
type Freed struct {
	Images []string // entries that were removed
	Bytes  int64    // their size
	Kept   int64    // the size of the images that stay
}

// Evict removes the least recently used images until the others have no more than most
// bytes, and deletes images that were removed long enough ago. Images that jobs use stay. It
// also removes entries that are not valid images.
func (s *Store) Evict(most int64) (*Freed, error) {
	if err := s.sweep(); err != nil {
		return nil, err
	}
	if err := s.empty(); err != nil {
		return nil, err
	}
	if err := s.forgetJobs(); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(s.root.FS(), image.ImagesDir)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	type kept struct {
		entry string
		bytes int64
		used  time.Time
	}
	var all []kept
	freed := new(Freed)
	for _, e := range entries {
		found, err := s.openEntry(e.Name())
		if err != nil {
			freed.Images = append(freed.Images, e.Name())
			if err := s.discard(e.Name()); err != nil {
				return freed, err
			}
			continue
		}
		k := kept{e.Name(), found.Size, found.Created}
		found.Close() //nolint:errcheck // only read
		if info, err := s.root.Lstat(filepath.Join(image.ImagesDir, e.Name(), image.UsedFile)); err == nil && info.ModTime().After(k.used) {
			k.used = info.ModTime()
		}
		all = append(all, k)
		freed.Kept += k.bytes
	}
	slices.SortFunc(all, func(a, b kept) int { return a.used.Compare(b.used) })
	for _, k := range all {
		if freed.Kept <= most {
			break
		}
		_, used, err := s.discardUnused(k.entry)
		if err != nil {
			return freed, err
		}
		if used {
			continue
		}
		freed.Images = append(freed.Images, k.entry)
		freed.Bytes += k.bytes
		freed.Kept -= k.bytes
	}
	return freed, s.forget()
}

// empty deletes entries that have been in the trash for the grace time.
func (s *Store) empty() error {
	entries, err := fs.ReadDir(s.root.FS(), image.TrashDir)
	if err != nil {
		return fmt.Errorf("list trash: %w", err)
	}
	trash, err := s.root.OpenRoot(image.TrashDir)
	if err != nil {
		return fmt.Errorf("open trash: %w", err)
	}
	defer func() { _ = trash.Close() }()
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < s.grace {
			continue
		}
		if err := rootfs.Remove(trash, e.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("empty trash: %w", err)
		}
	}
	return nil
}
