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

// The layout of a store. Each image has its own directory, which appears and disappears by
// rename, so that nobody ever sees half an image.
//
//	images/sha256/HEX.FORMAT/record.json   a Record
//	images/sha256/HEX.sqfs/root.sqfs       the root file system
//	images/sha256/HEX.tree/root/           the same, as a directory
//	images/sha256/HEX.tree/members         the list of its members, for verification
//	images/sha256/HEX.FORMAT/used          its mtime is the time of the last start, to the hour
//	refs/NAME                              a Ref
//	uses/HEX.FORMAT/HOST.PID.START         a Use
//	tmp/, leases/, trash/                  the importers' work in progress
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

// RootName returns the name of an image's root file system in its directory.
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

// A Store is an open store. It holds a descriptor of the directory, so it stays the same store
// even if the path is replaced.
type Store struct {
	Path  string
	dir   *os.File
	guard guard
}

// OpenStore opens a store. It fails with ErrUntrusted if others can change the store.
func OpenStore(p Place) (*Store, error) {
	g := guard{p.Owners}
	dir, err := g.follow(p.Path)
	if err != nil {
		return nil, err
	}
	return &Store{Path: p.Path, dir: dir, guard: g}, nil
}

// Close closes the store; images that were opened stay open.
func (s *Store) Close() error { return s.dir.Close() }

// Dir is the store's directory.
func (s *Store) Dir() *os.File { return s.dir }

// within opens a directory of the store, and checks each component of its path.
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

// Stores are several stores, in the order of search.
type Stores []*Store

// OpenStores opens the stores that exist. It skips a store that cannot be opened, and returns
// the reason; a store that does not exist is skipped without a reason.
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

// Close closes all stores.
func (s Stores) Close() error {
	var errs []error
	for _, store := range s {
		errs = append(errs, store.Close())
	}
	return errors.Join(errs...)
}

// An Image is an open image of a store. Whatever happens to the store meanwhile, Root stays
// the root file system that was found.
type Image struct {
	Record
	Store *Store
	Path  string   // of Root, for messages
	Root  *os.File // a tree's directory with O_PATH, or a squashfs file for reading

	dir *os.File
}

// Owned reports whether the caller owns the image's files in a container. All files of a squashfs
// belong to whoever mounts it.
func (i *Image) Owned() bool {
	var st unix.Stat_t
	return i.Format != Tree || unix.Fstat(int(i.Root.Fd()), &st) == nil && int(st.Uid) == os.Geteuid()
}

// Close closes the image.
func (i *Image) Close() error { return errors.Join(i.Root.Close(), i.dir.Close()) }

// Dir returns the directory of the image, its record and its list of members.
func (i *Image) Dir() *os.File { return i.dir }

// Entry returns the name of the image's directory.
func (i *Image) Entry() string { return filepath.Base(i.dir.Name()) }

// Hex returns the hexadecimal digits of a digest, which name the image in a store.
func (d Digest) Hex() (string, error) {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%s is not a SHA-256 digest", text.Quoted(string(d)))
	}
	return hex, nil
}

// Find opens the image with the digest from the first store that has it, in the first of the
// formats that this store has. Without formats, a tree goes before a squashfs. The reasons
// say why entries were skipped; the error is ErrNotFound if no store has a usable entry.
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
		return nil, errors.Join(fmt.Errorf("open image %s in %s: %w: it describes another image", name, text.Printable(s.Path), ErrRecord), found.Close())
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
		return nil, fmt.Errorf("%w: version %d; this program supports versions up to %d", ErrRecord, record.Version, RecordVersion)
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

const recordMost = 8 << 20 // bytes; a record includes the image's configuration

// read reads a JSON file of the store. Unknown fields are errors: a later program that adds
// fields also raises Version.
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

// List returns the records of all images, and why entries were skipped.
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
