package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/image"
)

// isOthersTree reports whether the image is a directory of another user, such as the site's. Who
// mounts a file owns what is in it.
func isOthersTree(found *image.Image) bool {
	var st unix.Stat_t
	return found.Format == image.Tree && (unix.Fstat(int(found.Root.Fd()), &st) != nil || int(st.Uid) != os.Geteuid())
}

// openOwn opens an image of the stores in a form in which the user owns its files: overlayfs copies
// a file that is changed together with its owner, which an ordinary user cannot do.
func (f *imageFinder) openOwn(stores image.Stores, digest image.Digest) (*image.Image, error) {
	for _, store := range stores {
		if found, err := store.Open(digest, image.Squashfs); err == nil && !f.tree {
			return found, nil
		}
		found, err := store.Open(digest, image.Tree)
		if err == nil && !isOthersTree(found) {
			return found, nil
		}
		if err == nil {
			_ = found.Close()
		}
	}
	return nil, fmt.Errorf("find image %s with files of uid %d, since they are to be changed: %w", digest, os.Geteuid(), image.ErrNotFound)
}

// errNotOwn says that --pull=never was given, and no store has the image in a form that the user
// could change.
var errNotOwn = errors.New("no store has it as a file, or as a directory of yours, which a writable image needs, and it is not to be pulled")

// notHere is the error for an image that would have to be pulled, and must not be.
func (f *imageFinder) notHere() error {
	if f.changed {
		return errNotOwn
	}
	return errNotHere
}

// pullConfig is the configuration by which images are imported. What only a store of the site's has
// is imported into the user's if its files are to be changed.
func (f *imageFinder) pullConfig() *config.Config {
	if !f.changed {
		return f.config
	}
	own := *f.config
	own.Image.Stores = nil
	return &own
}
