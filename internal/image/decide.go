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
)

// What a file begins with.
const (
	squashfsMagic = "hsqs"
	sifMagic      = "SIF_MAGIC"
	sifMagicAt    = 32 // behind the line by which the kernel would execute it
	tarMagic      = "ustar"
	tarMagicAt    = 257
	headSize      = 512
)

// ErrNoImage says that what a path leads to is nothing that can be an image.
var ErrNoImage = errors.New("no image")

// Decide says what a path leads to: of a KindPath by what lies there, of any other kind
// nothing is looked at. Which of the two kinds an archive is shows when it is read: its list
// of images may be the last thing in it.
//
// Only the first 512 bytes of a file, and a few names of a directory, are looked at. Nothing
// that is neither a file nor a directory is read, so that no fifo is waited for.
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

// decideFile knows a file by its first bytes.
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
	// gzip, zstd, xz and bzip2, of a tar archive
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "BZh"} {
		if at(0, magic) {
			return KindArchive, nil
		}
	}
	if len(head) == 0 {
		return "", fmt.Errorf("%w: an empty file", ErrNoImage)
	}
	return "", fmt.Errorf("%w: neither squashfs nor SIF nor a tar archive, nor a .toml file", ErrNoImage)
}

// decideDirectory knows a directory by what it has.
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
	return "", fmt.Errorf("%w: a directory with neither config.json nor oci-layout, nor any of bin, usr and etc", ErrNoImage)
}
