package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/archive"
	"github.com/ocishim/ocishim/internal/image/source"
)

// StagedName returns a new name for a file that is copied to TmpDir on several hosts. It is unlike
// those of importers: sweep takes it for one of another host, and leaves it for a day.
func StagedName() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // it never fails
	return "staged." + hex.EncodeToString(random)
}

// Received makes a source of a squashfs that was copied to TmpDir of this store, where record
// describes the image. The content is compared with the record's digest.
func (s *Store) Received(name string, record image.Record) (*source.Source, error) {
	f, err := s.received(name, record)
	if err != nil {
		return nil, fmt.Errorf("receive image %s: %w", record.Digest, err)
	}
	from := &source.Source{
		Digest: record.Digest, Reference: record.Reference, Platform: record.Platform, Config: record.Config, Private: record.Private,
		Packed: func(context.Context) (*source.Packed, error) {
			return &source.Packed{File: f, Size: record.Size, Digest: record.SHA256, Platform: record.Platform, Config: record.Config}, nil
		},
		Layers: []source.Layer{{Size: -1, Open: func(ctx context.Context) (io.ReadCloser, error) {
			return archive.Stream(ctx, func(ctx context.Context, w io.Writer) error { return archive.Squashfs(ctx, w, f, record.Size) }), nil
		}}},
	}
	from.OnClose(f.Close)
	return from, nil
}

func (s *Store) received(name string, record image.Record) (*os.File, error) {
	if strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("%q is not the name of a file", name)
	}
	f, err := s.root.OpenFile(filepath.Join(image.TmpDir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("not a regular file")
	case st.Size != record.Size:
		err = fmt.Errorf("%w: %d bytes arrived, not %d", ErrDamaged, st.Size, record.Size)
	default:
		if err = is(io.NewSectionReader(f, 0, st.Size), record.SHA256); err != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Forget removes a file of TmpDir, if it is there.
func (s *Store) Forget(name string) error {
	if strings.ContainsRune(name, '/') {
		return fmt.Errorf("%q is not the name of a file", name)
	}
	if err := s.root.Remove(filepath.Join(image.TmpDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what was received: %w", err)
	}
	return nil
}
