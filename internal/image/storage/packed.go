package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/image/squashfs"
)

// copyPacked copies an image that already is a squashfs. The copy shares its blocks with the
// original if the file system supports that; a file of TmpDir to be adopted gets another name.
func (s *Store) copyPacked(ctx context.Context, dir *os.Root, from *source.Source, adopt string, record *image.Record, count func(int)) (*layers.Result, error) {
	p, err := from.Packed(ctx)
	if err != nil {
		return nil, err
	}
	name := image.RootName(image.Squashfs)
	if adopt != "" {
		if err := s.link(adopt, dir, name); err != nil {
			return nil, fmt.Errorf("take over squashfs: %w", err)
		}
	}
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if adopt == "" {
		if err := clone(ctx, f, p, count); err != nil {
			return nil, fmt.Errorf("copy squashfs: %w", err)
		}
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return nil, fmt.Errorf("copy squashfs: %w", err)
	}
	// Hash the copy, not the original: the copy is what gets published.
	if record.SHA256, record.Size, err = digestOf(io.NewSectionReader(f, 0, p.Size)); err != nil {
		return nil, err
	}
	if p.Digest != "" && record.SHA256 != p.Digest {
		return nil, fmt.Errorf("copy squashfs: %w: it changed while it was read", ErrDamaged)
	}
	const little = 1 << 20
	im, err := squashfs.Open(f, record.Size, squashfs.Limits{Data: little, Metadata: little})
	if err != nil {
		return nil, err
	}
	record.Platform, record.Config = p.Platform, p.Config
	return &layers.Result{Members: int64(im.Inodes())}, nil
}

// link gives a file of TmpDir another name, in a directory of the store.
func (s *Store) link(file string, dir *os.Root, name string) error {
	tmp, err := s.root.OpenRoot(image.TmpDir)
	if err != nil {
		return err
	}
	defer func() { _ = tmp.Close() }()
	from, err := tmp.Open(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer to.Close()
	return unix.Linkat(int(from.Fd()), file, int(to.Fd()), name, 0)
}

// clone copies p into f.
func clone(ctx context.Context, f *os.File, p *source.Packed, count func(int)) error {
	info, err := p.File.Stat()
	if err != nil {
		return err
	}
	if p.Offset == 0 && p.Size == info.Size() && unix.IoctlFileClone(int(f.Fd()), int(p.File.Fd())) == nil {
		count(int(p.Size))
		return nil
	}
	const piece = 64 << 20
	for done := int64(0); done < p.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.Copy(io.NewOffsetWriter(f, done), io.NewSectionReader(p.File, p.Offset+done, min(piece, p.Size-done)))
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		count(int(n))
		done += n
	}
	return nil
}
