// Package storage writes stores of images: it imports, publishes, evicts and verifies. Two
// who import the same image at once waste work and corrupt nothing: each works in a
// directory of its own, and the first whose image is whole has it renamed to its place.
// No lock is needed for that, and none is taken on a file system that hosts share.
package storage

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/rootfs"
	"github.com/ocishim/ocishim/internal/process"
)

// A Store is one that the caller may write to.
type Store struct {
	*image.Store
	root *os.Root
	host string
	// What begins names of this host's importers: pids mean something in their namespace only.
	label string
	self  process.ID

	// What others must not do for so long to count as gone; tests have less patience.
	leaseAge, renewal, tmpAge, grace time.Duration
}

const (
	leaseAge = time.Minute
	renewal  = 10 * time.Second
	tmpAge   = 24 * time.Hour   // nobody on another host imports for so long
	grace    = 10 * time.Minute // between an image's removal and its deletion
)

// Open opens a store. If the directory is missing, it is created with access for the caller
// alone.
func Open(place image.Place) (*Store, error) {
	if err := os.MkdirAll(place.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	inner, err := image.OpenStore(place)
	if err != nil {
		return nil, err
	}
	s := &Store{Store: inner, leaseAge: leaseAge, renewal: renewal, tmpAge: tmpAge, grace: grace}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", place.Path, err), s.Close())
	}
	return s, nil
}

func (s *Store) prepare() (err error) {
	if s.host, err = os.Hostname(); err != nil {
		return err
	}
	s.label = image.RefFile(fmt.Sprintf("%s@%x", s.host, process.Numbering()))
	if s.self, err = process.Identify(os.Getpid()); err != nil {
		return err
	}
	// By the descriptor that was judged, not by the path.
	if s.root, err = os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(s.Dir().Fd()))); err != nil {
		return err
	}
	for _, dir := range []string{image.ImagesDir, image.RefsDir, image.UsesDir, image.TmpDir, image.LeasesDir, image.TrashDir} {
		if err := s.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Who may read is decided by the store's own mode, not by the umask of an importer.
	for _, dir := range []string{filepath.Dir(image.ImagesDir), image.ImagesDir, image.RefsDir} {
		if err := s.root.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the use of the store.
func (s *Store) Close() error {
	var err error
	if s.root != nil {
		err = s.root.Close()
	}
	return errors.Join(err, s.Store.Close())
}

// again repeats what may fail once because a file server has answered from a cache, of a
// directory that another host has changed (NFS: ENOENT, ESTALE).
func (s *Store) again(do func() error) error {
	err := do()
	if errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOENT) {
		if dir, oerr := s.root.Open("."); oerr == nil { // open is what makes the client ask
			dir.Close()
		}
		err = do()
	}
	return err
}

// name returns a name that no other importer has, and that says whose it is.
func (s *Store) name() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // it never fails
	return fmt.Sprintf("%s.%d.%d.%s", s.label, s.self.Pid, s.self.Start, hex.EncodeToString(random))
}

// A maker is who made a name as of name.
func maker(name string) (host string, id process.ID, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) < 4 {
		return "", id, false
	}
	parts, host = parts[len(parts)-3:], strings.Join(parts[:len(parts)-3], ".")
	pid, err := strconv.Atoi(parts[0])
	start, serr := strconv.ParseUint(parts[1], 10, 64)
	return host, process.ID{Pid: pid, Start: start}, err == nil && serr == nil
}

// syncDir writes a directory's names to the disk.
func syncDir(root *os.Root, path string) error {
	dir, err := root.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: it has no such thing
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// write makes or replaces a file of the store, by rename.
func (s *Store) write(path string, data []byte) error {
	half := filepath.Join(filepath.Dir(path), ".new."+s.name())
	if err := writeSynced(s.root, half, data); err != nil {
		return errors.Join(err, s.root.Remove(half))
	}
	if err := s.root.Rename(half, path); err != nil {
		return errors.Join(err, s.root.Remove(half))
	}
	return syncDir(s.root, filepath.Dir(path))
}

func writeSynced(root *os.Root, path string, data []byte) error {
	f, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

// SetRef notes what a name means.
func (s *Store) SetRef(name string, digest image.Digest) error {
	data, err := json.Marshal(image.Ref{Name: name, Digest: digest, Time: time.Now().UTC()})
	if err == nil {
		err = s.write(filepath.Join(image.RefsDir, image.RefFile(name)), data)
	}
	if err != nil {
		return fmt.Errorf("note name %s: %w", name, err)
	}
	return nil
}

// sweep removes what importers have left that were killed: of this host those that do not
// live any more, of others what is too old.
func (s *Store) sweep() error {
	var errs []error
	for _, dir := range []string{image.TmpDir, image.RefsDir, image.LeasesDir} {
		open, err := s.root.Open(dir)
		if err != nil {
			return err
		}
		entries, err := open.ReadDir(-1)
		open.Close()
		errs = append(errs, err)
		parent, err := s.root.OpenRoot(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name, half := strings.CutPrefix(e.Name(), ".new.")
			if dir != image.TmpDir && !half || !s.isLeft(parent, e.Name(), name) {
				continue
			}
			if err := rootfs.Remove(parent, e.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, parent.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what was left half made: %w", err)
	}
	return nil
}

func (s *Store) isLeft(dir *os.Root, file, name string) bool {
	host, id, ok := maker(name)
	if ok && host == s.label {
		return !id.Alive()
	}
	info, err := dir.Lstat(file)
	return err == nil && time.Since(info.ModTime()) > s.tmpAge
}
