package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/archive"
	"github.com/ocishim/ocishim/internal/image/squashfs"
)

// A Packed root file system already is a squashfs and only has to be copied. It is a whole file,
// or a part of a file of another kind.
type Packed struct {
	File         *os.File
	Offset, Size int64

	// Digest is the digest of the squashfs; empty if it has not been read yet.
	Digest image.Digest

	// Platform and Config are what the file says about itself; Platform defaults to the wanted
	// one.
	Platform image.Platform
	Config   image.Config
}

// fromPacked makes a Source from a file. Its digest is the file's SHA-256.
func fromPacked(ctx context.Context, r image.Reference, o Options) (*Source, error) {
	f, err := os.OpenFile(r.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	s, err := ofFile(ctx, f, r.Kind, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.Reference, s.close = r.String(), f.Close
	return s, nil
}

func ofFile(ctx context.Context, f *os.File, kind image.Kind, o Options) (*Source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	p, err := pack(f, info.Size(), kind, o.Platform)
	if err != nil {
		return nil, err
	}
	whole, part := sha256.New(), sha256.New()
	for _, section := range []struct {
		offset, size int64
		sums         io.Writer
	}{{0, p.Offset, whole}, {p.Offset, p.Size, io.MultiWriter(whole, part)}, {p.Offset + p.Size, info.Size() - p.Offset - p.Size, whole}} {
		if _, err := io.Copy(section.sums, &cancelled{io.NewSectionReader(f, section.offset, section.size), ctx}); err != nil {
			return nil, err
		}
	}
	p.Digest = image.Digest(fmt.Sprintf("sha256:%x", part.Sum(nil)))
	s := &Source{Digest: image.Digest(fmt.Sprintf("sha256:%x", whole.Sum(nil))), Platform: p.Platform, Config: p.Config, size: p.Size}
	s.pack(func(context.Context) (*Packed, error) { return p, nil })
	return s, nil
}

// pack sets Packed, and the single layer that is made from the squashfs.
func (s *Source) pack(open func(context.Context) (*Packed, error)) {
	s.Packed = open
	s.Layers = []Layer{{Size: -1, Open: func(ctx context.Context) (io.ReadCloser, error) {
		p, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return archive.Stream(ctx, func(ctx context.Context, w io.Writer) error {
			return archive.Squashfs(ctx, w, io.NewSectionReader(p.File, p.Offset, p.Size), p.Size)
		}), nil
	}}}
}

// pack finds the squashfs in a file, and checks that it can be read.
func pack(f *os.File, size int64, kind image.Kind, wanted image.Platform) (*Packed, error) {
	p := &Packed{File: f, Size: size, Platform: wanted}
	if kind == image.KindSIF {
		sif, err := ReadSIF(f, size)
		if err != nil {
			return nil, err
		}
		if fits(sif.Platform.Normal(), wanted.Normal()) < 0 {
			return nil, notFor(wanted, []image.Platform{sif.Platform})
		}
		p.Offset, p.Size, p.Platform = sif.Offset, sif.Size, sif.Platform
		if sif.Config != nil {
			p.Config = *sif.Config
		}
	}
	const little = 1 << 20
	if _, err := squashfs.Open(io.NewSectionReader(f, p.Offset, p.Size), p.Size, squashfs.Limits{Data: little, Metadata: little}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return p, nil
}

// fromORAS finds a SIF file in a registry. The file is fetched when it is first needed, into a
// file without a name.
func fromORAS(ctx context.Context, r image.Reference, o Options) (*Source, error) {
	stored, err := openSIF(ctx, r, o)
	if err != nil {
		return nil, err
	}
	s := &Source{Digest: stored.Digest, Reference: stored.Reference, Private: stored.Private, Platform: o.Platform, size: stored.File.Size}
	var fetched *Packed
	s.pack(func(ctx context.Context) (*Packed, error) {
		if fetched != nil {
			return fetched, nil
		}
		f, err := spool(o.TempDir, func(w io.Writer) error {
			content, err := stored.File.Open(ctx)
			if err != nil {
				return err
			}
			defer content.Close() //nolint:errcheck // only read from
			_, err = io.Copy(w, content)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("fetch SIF file: %w", err)
		}
		p, err := pack(f, stored.File.Size, image.KindSIF, o.Platform)
		if err != nil {
			f.Close()
			return nil, err
		}
		fetched, s.Platform, s.Config = p, p.Platform, p.Config
		return p, nil
	})
	s.close = func() error {
		if fetched == nil {
			return nil
		}
		return fetched.File.Close()
	}
	return s, nil
}

// counted computes the digest and size of what is written to it.
type counted struct {
	sum  hash.Hash
	size int64
}

// Write never fails.
func (c *counted) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.sum.Write(p)
}
