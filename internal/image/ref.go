package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

// A Ref records, as JSON, what a name meant when it was last looked up.
type Ref struct {
	Name   string    `json:"name"`
	Digest Digest    `json:"digest"`
	Time   time.Time `json:"time"`
}

// Moved returns a line that says that a name, which meant before, now means r; it is empty if it
// means the same, or if r is the older of the two.
func (r Ref) Moved(before Ref) string {
	if r.Digest == before.Digest || r.Time.Before(before.Time) {
		return ""
	}
	return fmt.Sprintf("%s now means %s, and meant %s before", text.Printable(r.Name), r.Digest, before.Digest)
}

// RefFile returns the file name for a name. Bytes that are special in paths or shells become +
// and two hexadecimal digits; a long name becomes ++ and its SHA-256.
func RefFile(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; strings.IndexByte(plain, c) >= 0 && (i > 0 || c != '.') {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02x", c)
		}
	}
	if b.Len() > 200 {
		sum := sha256.Sum256([]byte(name))
		return "++" + hex.EncodeToString(sum[:])
	}
	return b.String()
}

// Lookup returns what a name means in the store. The error is os.ErrNotExist if the store does
// not know the name.
func (s *Store) Lookup(name string) (Ref, error) {
	ref, err := s.lookup(name)
	if err != nil {
		return Ref{}, fmt.Errorf("look up %s in %s: %w", text.Printable(name), text.Printable(s.Path), err)
	}
	return ref, nil
}

func (s *Store) lookup(name string) (Ref, error) {
	dir, err := s.within(RefsDir)
	if err != nil {
		return Ref{}, err
	}
	defer dir.Close()
	return s.readRef(dir, RefFile(name), name)
}

func (s *Store) readRef(dir *os.File, file, name string) (ref Ref, err error) {
	if err := s.read(dir, file, 1<<16, &ref); err != nil {
		return Ref{}, err
	}
	if name != "" && ref.Name != name || RefFile(ref.Name) != file {
		return Ref{}, fmt.Errorf("%w: it describes another name", ErrRecord)
	}
	if _, err := ref.Digest.Hex(); err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return ref, nil
}

// Lookup returns what a name means in the first store that knows it, and why it skipped stores
// whose entry for the name is invalid.
func (s Stores) Lookup(name string) (ref Ref, reasons []error, err error) {
	for _, store := range s {
		ref, err := store.Lookup(name)
		if err == nil {
			return ref, reasons, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			reasons = append(reasons, err)
		}
	}
	return Ref{}, reasons, fmt.Errorf("look up %s: %w", text.Printable(name), ErrNotFound)
}

// Refs returns all names that a store knows, and why it skipped files.
func (s *Store) Refs() (refs []Ref, reasons []error, err error) {
	dir, err := s.within(RefsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list names of %s: %w", text.Printable(s.Path), err)
	}
	defer dir.Close()
	files, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, fmt.Errorf("list names of %s: %w", text.Printable(s.Path), err)
	}
	for _, file := range files {
		ref, err := s.readRef(dir, file, "")
		switch {
		case err == nil:
			refs = append(refs, ref)
		case !strings.HasPrefix(file, ".") && !errors.Is(err, os.ErrNotExist): // a leading dot marks a half-written file
			reasons = append(reasons, fmt.Errorf("%s: %w", filepath.Join(s.Path, RefsDir, file), err))
		}
	}
	return refs, reasons, nil
}

// stampAge is how old the time of the last use may become before it is renewed. Renewing it
// less often saves writes to a shared file system.
const stampAge = time.Hour

// Touch records that the image is used now, so that eviction takes images that are not. If the
// store is read-only or belongs to somebody else, it records nothing and returns no error.
func (i *Image) Touch() error {
	var st unix.Stat_t
	err := unix.Fstatat(int(i.dir.Fd()), UsedFile, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && time.Since(time.Unix(st.Mtim.Unix())) < stampAge {
		return nil
	}
	if errors.Is(err, unix.ENOENT) {
		var fd int
		if fd, err = unix.Openat(int(i.dir.Fd()), UsedFile, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644); err == nil {
			err = unix.Close(fd)
		}
	} else if err == nil {
		// Use the file server's clock, not this host's.
		now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
		err = unix.UtimesNanoAt(int(i.dir.Fd()), UsedFile, now, unix.AT_SYMLINK_NOFOLLOW)
	}
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record use of %s: %w", text.Printable(i.Path), err)
	}
	return nil
}
