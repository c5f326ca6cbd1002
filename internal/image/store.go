package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

// The layout of a store. Each image lies in a directory of its own, which appears and
// disappears by rename, whole: there is no moment at which half an image is found.
//
//	images/sha256/HEX.FORMAT/record.json   a Record
//	images/sha256/HEX.sqfs/root.sqfs       the root file system
//	images/sha256/HEX.tree/root/           the same, as a directory
//	images/sha256/HEX.tree/members         the list of its members, for verification
//	images/sha256/HEX.FORMAT/used          its time is that of the last start, to the hour
//	refs/NAME                              a Ref
//	uses/HEX.FORMAT/HOST.PID.START         a Use
//	tmp/, leases/, trash/                  of importers
const (
	ImagesDir   = "images/sha256"
	RefsDir     = "refs"
	UsesDir     = "uses"
	TmpDir      = "tmp"
	LeasesDir   = "leases"
	TrashDir    = "trash"
	RecordFile  = "record.json"
	MembersFile = "members"
	UsedFile    = "used"
)

// RootName is what an image's root file system is called in its directory.
func RootName(f Format) string {
	if f == Tree {
		return "root"
	}
	return "root.sqfs"
}

// ErrNotFound says that no store has an image.
var ErrNotFound = errors.New("not in a store")

// ErrRecord says that a record or a Ref of a store is invalid.
var ErrRecord = errors.New("not a record")

// A Store is an open store: a descriptor of it, so that it stays the same whatever is put
// in its place.
type Store struct {
	Path  string
	dir   *os.File
	guard guard
}

// OpenStore opens a store. It fails with ErrUntrusted where others can change it.
func OpenStore(p Place) (*Store, error) {
	g := guard{p.Owners}
	dir, err := g.follow(p.Path)
	if err != nil {
		return nil, err
	}
	return &Store{Path: p.Path, dir: dir, guard: g}, nil
}

// Close ends the use of the store; images that were opened stay open.
func (s *Store) Close() error { return s.dir.Close() }

// Dir is the store's directory.
func (s *Store) Dir() *os.File { return s.dir }

// within opens a directory of the store, a component at a time.
func (s *Store) within(path string) (*os.File, error) {
	dir := s.dir
	for part := range strings.SplitSeq(path, "/") {
		next, _, err := s.guard.open(dir, part, unix.O_RDONLY|unix.O_DIRECTORY, unix.S_IFDIR)
		if dir != s.dir {
			dir.Close()
		}
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// Stores are several, in the order in which they are asked.
type Stores []*Store

// OpenStores opens those that there are. Why one was passed over is among the reasons; one
// that does not exist is passed over without.
func OpenStores(places ...Place) (stores Stores, reasons []error) {
	for _, p := range places {
		s, err := OpenStore(p)
		switch {
		case err == nil:
			stores = append(stores, s)
		case !errors.Is(err, os.ErrNotExist):
			reasons = append(reasons, err)
		}
	}
	return stores, reasons
}

// Close closes all.
func (s Stores) Close() error {
	var errs []error
	for _, store := range s {
		errs = append(errs, store.Close())
	}
	return errors.Join(errs...)
}

// An Image is one of a store, open for a start: whatever happens to the store meanwhile,
// Root stays what was found.
type Image struct {
	Record
	Store *Store
	Path  string   // of Root, for messages
	Root  *os.File // of a tree for O_PATH, of a file of squashfs for reading

	dir *os.File
}

// Close closes what is open of the image.
func (i *Image) Close() error { return errors.Join(i.Root.Close(), i.dir.Close()) }

// Dir is the directory that the image, its record and its list of members lie in.
func (i *Image) Dir() *os.File { return i.dir }

// Entry is the name of that directory.
func (i *Image) Entry() string { return filepath.Base(i.dir.Name()) }

// Hex returns the digits of a digest, which are a file's name in a store.
func (d Digest) Hex() (string, error) {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%s is no digest of SHA-256", text.Quoted(string(d)))
	}
	return hex, nil
}

// Find opens the image of that digest: of the first store that has it, in the first of the
// formats that it has, a tree before a file where none is given. The reasons say which
// entries were passed over; the error is ErrNotFound where nothing is left.
func (s Stores) Find(digest Digest, formats ...Format) (found *Image, reasons []error, err error) {
	if _, err := digest.Hex(); err != nil {
		return nil, nil, fmt.Errorf("find image: %w", err)
	}
	if len(formats) == 0 {
		formats = []Format{Tree, Squashfs}
	}
	for _, store := range s {
		for _, format := range formats {
			found, err := store.Open(digest, format)
			if err == nil {
				return found, reasons, nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				reasons = append(reasons, err)
			}
		}
	}
	return nil, reasons, fmt.Errorf("find image %s: %w", digest, ErrNotFound)
}

// Open opens the image with the digest and format. The error is os.ErrNotExist if the store
// does not have it.
func (s *Store) Open(digest Digest, format Format) (*Image, error) {
	hex, err := digest.Hex()
	if err != nil {
		return nil, err
	}
	name := hex + "." + string(format)
	found, err := s.open(name)
	if err != nil {
		return nil, fmt.Errorf("open image %s in %s: %w", name, text.Printable(s.Path), err)
	}
	if found.Digest != digest || found.Format != format {
		return nil, errors.Join(fmt.Errorf("open image %s in %s: %w: it is of another image", name, text.Printable(s.Path), ErrRecord), found.Close())
	}
	return found, nil
}

func (s *Store) open(name string) (found *Image, err error) {
	images, err := s.within(ImagesDir)
	if err != nil {
		return nil, err
	}
	defer images.Close()
	dir, _, err := s.guard.open(images, name, unix.O_RDONLY|unix.O_DIRECTORY, unix.S_IFDIR)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			dir.Close()
		}
	}()
	record := new(Record)
	if err := s.read(dir, RecordFile, recordMost, record); err != nil {
		return nil, err
	}
	if record.Version < 1 || record.Version > RecordVersion {
		return nil, fmt.Errorf("%w: version %d; this is for %d", ErrRecord, record.Version, RecordVersion)
	}
	flags, kind := unix.O_RDONLY, uint32(unix.S_IFREG)
	switch record.Format {
	case Tree:
		flags, kind = unix.O_PATH|unix.O_DIRECTORY, unix.S_IFDIR
	case Squashfs:
	default:
		return nil, fmt.Errorf("%w: format %s", ErrRecord, text.Quoted(string(record.Format)))
	}
	root, st, err := s.guard.open(dir, RootName(record.Format), flags, kind)
	if err != nil {
		return nil, err
	}
	if record.Format == Squashfs && st.Size != record.Size {
		return nil, errors.Join(fmt.Errorf("%w: %d bytes, not %d", ErrRecord, st.Size, record.Size), root.Close())
	}
	path := filepath.Join(s.Path, ImagesDir, name, RootName(record.Format))
	return &Image{Record: *record, Store: s, Path: path, Root: root, dir: dir}, nil
}

const recordMost = 8 << 20 // bytes; the configuration of an image is part of it

// read reads a JSON file of the store, strictly: what has been added to its fields
// by a later writer has a new Version.
func (s *Store) read(dir *os.File, name string, most int64, into any) error {
	f, st, err := s.guard.open(dir, name, unix.O_RDONLY, unix.S_IFREG)
	if err != nil {
		return err
	}
	defer f.Close()
	if st.Size > most {
		return fmt.Errorf("%s: %w: %d bytes", text.Printable(name), ErrRecord, st.Size)
	}
	decoder := json.NewDecoder(io.LimitReader(f, most))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w: %w", text.Printable(name), ErrRecord, err)
	}
	return nil
}

// List opens no images: it returns what the records say, and why entries were passed over.
func (s *Store) List() (records []Record, reasons []error, err error) {
	images, err := s.within(ImagesDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list images of %s: %w", text.Printable(s.Path), err)
	}
	defer images.Close()
	names, err := images.Readdirnames(-1)
	if err != nil {
		return nil, nil, fmt.Errorf("list images of %s: %w", text.Printable(s.Path), err)
	}
	for _, name := range names {
		hex, format, _ := strings.Cut(name, ".")
		found, err := s.Open(Digest("sha256:"+hex), Format(format))
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				reasons = append(reasons, err)
			}
			continue
		}
		records = append(records, found.Record)
		found.Close() //nolint:errcheck // only read
	}
	return records, reasons, nil
}
