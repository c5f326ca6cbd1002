// Package storage writes stores of images: it imports, publishes, evicts and verifies. If two
// processes import the same image at once, work is wasted but nothing is corrupted: each works
// in a directory of its own, and the first to complete the image renames it to its place. This
// needs no lock, and none is taken on a file system that hosts share.
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

// A Store is a store that the caller may write to.
type Store struct {
	*image.Store
	root *os.Root
	host string
	// label is the prefix of names from this host and pid namespace: pids from other namespaces
	// cannot be checked.
	label string
	self  process.ID

	// Times after which leases, leftovers and removed images expire; tests shorten them.
	leaseAge, renewal, tmpAge, halfAge, grace time.Duration
}

const (
	leaseAge = time.Minute
	renewal  = 10 * time.Second
	tmpAge   = 24 * time.Hour // longer than any import on another host takes
	halfAge  = time.Hour
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
	s := &Store{Store: inner, leaseAge: leaseAge, renewal: renewal, tmpAge: tmpAge, halfAge: halfAge, grace: grace}
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
	// Open the descriptor that was checked, not the path: the path may lead elsewhere by now.
	if s.root, err = os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(s.Dir().Fd()))); err != nil {
		return err
	}
	for _, dir := range []string{image.ImagesDir, image.RefsDir, image.UsesDir, image.TmpDir, image.LeasesDir, image.TrashDir} {
		if err := s.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// The mode of the store itself decides who may read it, not the importer's umask.
	for _, dir := range []string{filepath.Dir(image.ImagesDir), image.ImagesDir, image.RefsDir} {
		if err := s.root.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the store.
func (s *Store) Close() error {
	var err error
	if s.root != nil {
		err = s.root.Close()
	}
	return errors.Join(err, s.Store.Close())
}

// again repeats do once if it fails with ENOENT or ESTALE: on NFS the client's cache of a directory
// that another host has changed may be out of date.
func (s *Store) again(do func() error) error {
	err := do()
	if errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOENT) {
		if dir, oerr := s.root.Open("."); oerr == nil { // open makes the client ask the server
			dir.Close()
		}
		err = do()
	}
	return err
}

// name returns a unique name that identifies this process.
func (s *Store) name() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // it never fails
	return fmt.Sprintf("%s.%d.%d.%s", s.label, s.self.Pid, s.self.Start, hex.EncodeToString(random))
}

// nameFor returns a name like Store.name for a directory in which an entry of images is made.
func (s *Store) nameFor(entry string) string {
	parts := strings.Split(s.name(), ".")
	parts[len(parts)-1] = tag(entry) + parts[len(parts)-1]
	return strings.Join(parts, ".")
}

// tag is a short form of an entry's name, without a dot.
func tag(entry string) string {
	hex, format, _ := strings.Cut(entry, ".")
	return hex[:min(len(hex), 16)] + "-" + format + "-"
}

// removeOthers removes what importers on other hosts have written of an entry that is published:
// they are dead, or find the published image when they go on.
func (s *Store) removeOthers(tmp *os.Root, entry string) {
	dir, err := tmp.Open(".")
	if err != nil {
		return
	}
	entries, _ := dir.ReadDir(-1)
	dir.Close()
	for _, e := range entries {
		host, _, ok := maker(e.Name())
		last := e.Name()[strings.LastIndexByte(e.Name(), '.')+1:]
		if ok && host != s.label && strings.HasPrefix(last, tag(entry)) {
			_ = rootfs.Remove(tmp, e.Name()) // if it fails, sweep removes it a day later
		}
	}
}

// maker returns the process that made a name with Store.name.
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

// syncDir syncs a directory to disk.
func syncDir(root *os.Root, path string) error {
	dir, err := root.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: the file system cannot sync directories
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// write makes or replaces a file of the store atomically, by rename.
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

// SetRef records what a name means.
func (s *Store) SetRef(name string, digest image.Digest) error {
	data, err := json.Marshal(image.Ref{Name: name, Digest: digest, Time: time.Now().UTC()})
	if err == nil {
		err = s.write(filepath.Join(image.RefsDir, image.RefFile(name)), data)
	}
	if err != nil {
		return fmt.Errorf("record name %s: %w", name, err)
	}
	return nil
}

// sweep removes what killed importers have left: everything from dead processes of this host, and
// from other hosts everything older than tmpAge. Halves of small files exist for milliseconds, so
// those of other hosts need not become as old.
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
			age := s.tmpAge
			if half {
				age = min(age, s.halfAge)
			}
			if dir != image.TmpDir && !half || !s.isLeft(parent, e.Name(), name, age) {
				continue
			}
			if err := rootfs.Remove(parent, e.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		errs = append(errs, parent.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove leftovers of importers: %w", err)
	}
	return nil
}

func (s *Store) isLeft(dir *os.Root, file, name string, age time.Duration) bool {
	host, id, ok := maker(name)
	if ok && host == s.label {
		return !id.Alive()
	}
	info, err := dir.Lstat(file)
	return err == nil && time.Since(info.ModTime()) > age
}
