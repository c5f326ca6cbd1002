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

// ErrDamaged says that an image of the store has changed since it was written.
var ErrDamaged = errors.New("damaged")

// Verify compares an image with its record: a squashfs file with its digest; a tree's list of
// members with its digest, and each member with the list.
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
	return verifyTree(dir, i)
}

// sameMembers compares a tree that was copied, in dir, with the list of the tree that it was
// copied from.
func sameMembers(dir *os.Root, original *image.Image) error {
	if err := verifyTree(dir, original); err != nil {
		return fmt.Errorf("compare the copy of %s: %w: %w", original.Path, ErrDamaged, err)
	}
	return nil
}

// verifyTree compares the tree in dir with the list of an image's members.
func verifyTree(dir *os.Root, i *image.Image) error {
	from, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", i.Dir().Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	list, err := from.OpenFile(image.MembersFile, os.O_RDONLY|unix.O_NOFOLLOW, 0)
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

// is fails unless the content of r has the digest.
func is(r io.Reader, want image.Digest) error {
	got, _, err := digestOf(r)
	if err == nil && got != want {
		err = fmt.Errorf("its content has %s, not %s", got, want)
	}
	return err
}
