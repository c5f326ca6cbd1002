// Package export writes an image in the formats of other programs, as a file or directory that
// appears whole or not at all. An image of a store has a single layer, since the import merged
// its original layers.
package export

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/rootfs"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/text"
)

// A Format is a format that other programs read.
type Format string

// The formats.
const (
	Layout        Format = "oci"            // a directory by image-spec, image-layout.md
	OCIArchive    Format = "oci-archive"    // a tar file of such a directory
	DockerArchive Format = "docker-archive" // a tar file for docker load
	Squashfs      Format = "sqfs"           // a squashfs file
	RootFS        Format = "rootfs"         // a directory
	Bundle        Format = "bundle"         // a directory with config.json and rootfs
)

// Formats returns all formats.
func Formats() []Format {
	return []Format{Layout, OCIArchive, DockerArchive, Squashfs, RootFS, Bundle}
}

// ErrExists says that the path to write already exists.
var ErrExists = errors.New("it exists")

// Options say how an image is written.
type Options struct {
	Limits layers.Limits

	// Tag names the image in the output, if the format can hold a name.
	Tag string

	// Read is called with the number of bytes of layers that were read since the last call.
	Read func(bytes int)
}

// Write writes an image to a file or directory at path. The path must not exist; if the format is
// a directory, an empty directory may exist.
func Write(ctx context.Context, src *source.Source, format Format, path string, o Options) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write image to %s: %w", text.Whole(path), err)
		}
	}()
	if o.Read == nil {
		o.Read = func(int) {}
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := free(path, format); err != nil {
		return err
	}
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close() //nolint:errcheck // only read from
	name := ".ocishim-" + rand.Text()
	if err := parent.Mkdir(name, 0o777); err != nil { // the umask applies
		return err
	}
	defer func() { err = errors.Join(err, rootfs.Remove(parent, name)) }()
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read from
	w := &writer{Options: o, src: src, dir: dir, path: filepath.Join(filepath.Dir(path), name)}
	made, err := w.write(ctx, format)
	if err != nil {
		return err
	}
	return place(filepath.Join(w.path, made), path)
}

// free checks that the path can be written, before the work begins.
func free(path string, format Format) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() || format == OCIArchive || format == DockerArchive || format == Squashfs {
		return ErrExists
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%w, and is not empty", ErrExists)
	}
	return err
}

// place moves the finished output to its path. A directory may replace only an empty directory; a
// file replaces nothing.
func place(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = unix.Rename(from, to)
	} else if err = unix.Link(from, to); err == nil {
		err = unix.Unlink(from)
	} else if !errors.Is(err, unix.EEXIST) { // the file system has no hard links
		err = unix.Rename(from, to)
	}
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	if err = dir.Sync(); errors.Is(err, unix.EINVAL) { // the file system cannot sync directories
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// A writer writes the output in a temporary directory of its own.
type writer struct {
	Options
	src  *source.Source
	dir  *os.Root
	path string
}

// write writes the image and returns the name of the file or directory that it made.
func (w *writer) write(ctx context.Context, format Format) (string, error) {
	switch format {
	case Layout:
		return "oci", w.layout(ctx)
	case OCIArchive:
		return "archive", w.ociArchive(ctx)
	case DockerArchive:
		return "archive", w.dockerArchive(ctx)
	case Squashfs:
		return "root.sqfs", w.squashfs(ctx)
	case RootFS:
		return "rootfs", w.tree(ctx, w.dir)
	case Bundle:
		return "bundle", w.bundle(ctx)
	}
	return "", fmt.Errorf("unknown format %s: use one of %q", text.Printable(string(format)), Formats())
}

// tree writes a directory called rootfs.
func (w *writer) tree(ctx context.Context, dir *os.Root) error {
	const members = ".members"
	list, err := w.dir.OpenFile(members, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer list.Close()
	t := rootfs.NewTree(dir, "rootfs", list)
	defer t.Close()
	if _, err := layers.Flatten(ctx, w.src.Layers, w.Limits, t, w.Read); err != nil {
		return err
	}
	return t.Finish()
}

func (w *writer) squashfs(ctx context.Context) error {
	if w.src.Packed != nil {
		return w.copyPacked(ctx)
	}
	s := rootfs.NewSquashfs(ctx, w.dir, "root.sqfs")
	defer s.Close()
	if _, err := layers.Flatten(ctx, w.src.Layers, w.Limits, s, w.Read); err != nil {
		return err
	}
	return s.Finish()
}
