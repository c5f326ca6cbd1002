package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Remove deletes a directory and everything in it, whatever modes its directories have. A
// missing directory is not an error.
func Remove(parent *os.Root, name string) error {
	err := parent.RemoveAll(name)
	if errors.Is(err, os.ErrPermission) {
		if err := unlock(parent, name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		err = parent.RemoveAll(name)
	}
	return err
}

// unlock gives the owner access to a directory and all below it. It does not follow links.
func unlock(parent *os.Root, name string) error {
	info, err := parent.Lstat(name)
	if err != nil || !info.IsDir() {
		return err
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		if err := parent.Chmod(name, 0o700); err != nil {
			return err
		}
	}
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	f, err := dir.OpenFile(".", os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if e.IsDir() {
				if err := unlock(dir, e.Name()); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
