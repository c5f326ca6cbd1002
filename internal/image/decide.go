package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// The first bytes of each kind of file.
const (
	squashfsMagic = "hsqs"
	sifMagic      = "SIF_MAGIC"
	sifMagicAt    = 32 // after the #! line
	tarMagic      = "ustar"
	tarMagicAt    = 257
	headSize      = 512
)

// ErrNoImage says that a path does not lead to an image.
var ErrNoImage = errors.New("no image")

// Decide replaces KindPath by the kind of what the path leads to; other kinds are returned as
// they are. For both kinds of archives it returns KindArchive: the list of images that tells
// them apart may be at the end, so it is looked at when the archive is read.
//
// Decide reads only the first 512 bytes of a file, or looks for a few names in a directory. It
// reads nothing else, so that it never waits for a fifo.
func (r Reference) Decide() (Reference, error) {
	if r.Kind != KindPath {
		return r, nil
	}
	kind, err := decide(r.Path)
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err
		}
		return Reference{}, &ReferenceError{Reference: r.Path, Err: err}
	}
	r.Kind = kind
	return r, nil
}

func decide(path string) (Kind, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return decideDirectory(path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: neither a file nor a directory", ErrNoImage)
	case strings.HasSuffix(path, ".toml"):
		return KindEDF, nil
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return decideFile(head[:n])
}

// decideFile returns the kind of a file by its first bytes.
func decideFile(head []byte) (Kind, error) {
	at := func(offset int, magic string) bool {
		return len(head) >= offset && bytes.HasPrefix(head[offset:], []byte(magic))
	}
	switch {
	case at(0, squashfsMagic):
		return KindSquashfs, nil
	case at(sifMagicAt, sifMagic):
		return KindSIF, nil
	case at(tarMagicAt, tarMagic):
		return KindArchive, nil
	}
	// A tar archive compressed with gzip, zstd, xz or bzip2.
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "BZh"} {
		if at(0, magic) {
			return KindArchive, nil
		}
	}
	if len(head) == 0 {
		return "", fmt.Errorf("%w: an empty file", ErrNoImage)
	}
	return "", fmt.Errorf("%w: not a squashfs file, SIF file, tar archive or .toml file", ErrNoImage)
}

// decideDirectory returns the kind of a directory by its members.
func decideDirectory(path string) (Kind, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return "", err
	}
	defer root.Close() //nolint:errcheck // only read from
	for _, mark := range []struct {
		file string
		kind Kind
	}{{"config.json", KindBundle}, {"oci-layout", KindLayout}} {
		if info, err := root.Stat(mark.file); err == nil && info.Mode().IsRegular() {
			return mark.kind, nil
		}
	}
	for _, name := range []string{"bin", "usr", "etc"} {
		// bin may be a link, and the link absolute.
		if _, err := root.Lstat(name); err == nil {
			return KindRootFS, nil
		}
	}
	return "", fmt.Errorf("%w: a directory without config.json, oci-layout, bin, usr or etc", ErrNoImage)
}

// ChangedSince reports whether a file was written since an image was imported from it. A directory's
// time says nothing about its files, and a registry has no time.
func (r Reference) ChangedSince(imported time.Time) bool {
	if r.Path == "" {
		return false
	}
	info, err := os.Stat(r.Path)
	return err == nil && info.Mode().IsRegular() && !info.ModTime().Before(imported)
}
