package storage

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/rootfs"
)

// ErrDamaged says that an image of the store is not what was written.
var ErrDamaged = errors.New("damaged")

// Verify compares an image with its record: the sum of a file of squashfs; the list of a
// tree's members, whose sum the record has, with each of them.
func Verify(i *image.Image) error {
	if err := verify(i); err != nil {
		return fmt.Errorf("verify %s: %w: %w", i.Path, ErrDamaged, err)
	}
	return nil
}

func verify(i *image.Image) error {
	if i.Format == image.Squashfs {
		f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", i.Root.Fd()))
		if err != nil {
			return err
		}
		defer f.Close()
		return is(f, i.SHA256)
	}
	dir, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", i.Dir().Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	list, err := dir.OpenFile(image.MembersFile, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer list.Close()
	if err := is(list, i.Members); err != nil {
		return fmt.Errorf("list of members: %w", err)
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return err
	}
	tree, err := dir.OpenRoot(image.RootName(image.Tree))
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	return rootfs.Verify(tree, list)
}

// is compares what can be read with a digest.
func is(r io.Reader, want image.Digest) error {
	got, _, err := digestOf(r)
	if err == nil && got != want {
		err = fmt.Errorf("it is %s, not %s", got, want)
	}
	return err
}
