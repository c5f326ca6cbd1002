package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/archive"
	"github.com/ocishim/ocishim/internal/image/source"
)

// Source makes a source from an image of a store. It has one layer, since the import merged the
// layers. Closing the source closes the image.
func Source(i *image.Image) *source.Source {
	s := &source.Source{Digest: i.Digest, Reference: i.Reference, Platform: i.Platform, Config: i.Config, Private: i.Private}
	write := func(ctx context.Context, w io.Writer) error { return archive.Squashfs(ctx, w, i.Root, i.Size) }
	switch i.Format {
	case image.Squashfs:
		s.Packed = func(context.Context) (*source.Packed, error) {
			return &source.Packed{File: i.Root, Size: i.Size, Digest: i.SHA256, Platform: i.Platform, Config: i.Config}, nil
		}
	default:
		write = func(ctx context.Context, w io.Writer) error {
			root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", i.Root.Fd()))
			if err != nil {
				return err
			}
			return errors.Join(archive.Directory(ctx, w, root), root.Close())
		}
	}
	s.Layers = []source.Layer{{
		Size: -1, Open: func(ctx context.Context) (io.ReadCloser, error) { return archive.Stream(ctx, write), nil },
	}}
	s.OnClose(i.Close)
	return s
}
