package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/rootfs"
	"github.com/ocishim/ocishim/internal/image/source"
)

// Options say how to import an image.
type Options struct {
	Format image.Format
	Limits layers.Limits
	Job    string // shown to others who wait for this import
	// Like is the image that the source reads, or nil. A tree of a tree must have the same members,
	// and one of a squashfs is only made of a file that has its digest.
	Like *image.Image
	// Adopt names a file of TmpDir that becomes the image, where the source's Packed is that file:
	// it is linked, not copied.
	Adopt string
	// Share allows a private image in a store that others can read.
	Share bool
	// Read is called with the number of bytes of layers that were read since the last call.
	// Waiting is called every second while another process imports the same image. Both may
	// be nil.
	Read    func(bytes int)
	Waiting func(Holder)
	// Turn is what the caller holds for the image, if it does: others see the progress there.
	Turn *Turn
}

// Import imports a source into the store, unless the store has the image, and opens the image.
func (s *Store) Import(ctx context.Context, from *source.Source, o Options) (*image.Image, error) {
	hex, err := from.Digest.Hex()
	if err != nil {
		return nil, fmt.Errorf("import image: %w", err)
	}
	if err := s.admits(from.Private && !o.Share); err != nil {
		return nil, fmt.Errorf("import image: %w", err)
	}
	if err := s.sweep(); err != nil {
		return nil, err
	}
	entry := hex + "." + string(o.Format)
	var found *image.Image
	l, err := s.wait(ctx, entry, o.Job, o.Waiting, func() bool {
		found, err = s.Store.Open(from.Digest, o.Format)
		return err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("import image %s: %w", from.Digest, err)
	}
	if l == nil {
		return found, nil
	}
	err = s.makeAndPublish(ctx, from, o, entry, l)
	if err != nil && ctx.Err() == nil {
		// Another importer may have published the image, and removed what we were writing.
		if found, e := s.Store.Open(from.Digest, o.Format); e == nil {
			return found, l.release()
		}
	}
	if err := errors.Join(err, l.release()); err != nil {
		return nil, fmt.Errorf("import image %s: %w", from.Digest, err)
	}
	err = s.again(func() error {
		found, err = s.Store.Open(from.Digest, o.Format)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("import image %s: %w", from.Digest, err)
	}
	return found, nil
}

func (s *Store) makeAndPublish(ctx context.Context, from *source.Source, o Options, entry string, l *lease) (err error) {
	name := s.nameFor(entry)
	tmp, err := s.root.OpenRoot(image.TmpDir)
	if err != nil {
		return err
	}
	defer func() {
		// After publishing, nothing is left to remove.
		err = errors.Join(err, rootfs.Remove(tmp, name), tmp.Close())
	}()
	if err := tmp.Mkdir(name, 0o755); err != nil {
		return err
	}
	dir, err := tmp.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := dir.Chmod(".", 0o755); err != nil { // regardless of the umask
		return err
	}
	record, err := s.make(ctx, dir, from, o, l)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(record, "", "\t")
	if err != nil {
		return err
	}
	if err := writeSynced(dir, image.RecordFile, append(data, '\n')); err != nil {
		return err
	}
	if err := syncDir(dir, "."); err != nil {
		return err
	}
	if err := s.publish(name, entry); err != nil {
		return err
	}
	s.removeOthers(tmp, entry)
	return nil
}

// make writes the root file system into the directory, and returns the image's record.
func (s *Store) make(ctx context.Context, dir *os.Root, from *source.Source, o Options, l *lease) (*image.Record, error) {
	total, read := from.Size(), int64(0)
	count := func(bytes int) {
		read += int64(bytes)
		l.say(fmt.Sprintf("%d of %d MB", read>>20, total>>20))
		if o.Turn != nil {
			o.Turn.lease.say(fmt.Sprintf("%d of %d MB", read>>20, total>>20))
		}
		if o.Read != nil {
			o.Read(bytes)
		}
	}
	record := &image.Record{
		Version: image.RecordVersion, Digest: from.Digest, Reference: from.Reference, Platform: from.Platform, Config: from.Config,
		Format: o.Format, Private: from.Private, Lost: map[string]int64{}, Created: time.Now().UTC(), Host: s.host,
	}
	var result *layers.Result
	var err error
	switch {
	case o.Format == image.Squashfs && from.Packed != nil:
		result, err = s.copyPacked(ctx, dir, from, o.Adopt, record, count)
	case o.Format == image.Squashfs:
		result, err = makeSquashfs(ctx, dir, from, o, record, count)
	default:
		result, err = makeTree(ctx, dir, from, o, record, count)
	}
	if err != nil {
		return nil, err
	}
	record.Files = result.Members
	for what, n := range result.Lost {
		record.Lost[what] += n
	}
	return record, nil
}

func makeSquashfs(ctx context.Context, dir *os.Root, from *source.Source, o Options, record *image.Record, count func(int)) (*layers.Result, error) {
	name := image.RootName(image.Squashfs)
	w := rootfs.NewSquashfs(ctx, dir, name)
	defer w.Close()
	result, err := layers.Flatten(ctx, from.Layers, o.Limits, w, count)
	if err != nil {
		return nil, err
	}
	if err := w.Finish(); err != nil {
		return nil, err
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	record.SHA256, record.Size, err = digestOf(f)
	return result, err
}

func digestOf(r io.Reader) (image.Digest, int64, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	return image.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), n, err
}

func makeTree(ctx context.Context, dir *os.Root, from *source.Source, o Options, record *image.Record, count func(int)) (*layers.Result, error) {
	list, err := dir.OpenFile(image.MembersFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	w := rootfs.NewTree(dir, image.RootName(image.Tree), list)
	defer w.Close()
	if o.Like != nil && o.Like.Format == image.Squashfs {
		if err := Verify(o.Like); err != nil {
			return nil, err
		}
	}
	result, err := layers.Flatten(ctx, from.Layers, o.Limits, w, count)
	if err != nil {
		return nil, err
	}
	if err := w.Finish(); err != nil {
		return nil, err
	}
	if o.Like != nil && o.Like.Format == image.Tree {
		if err := sameMembers(dir, o.Like); err != nil {
			return nil, err
		}
	}
	if err := list.Chmod(0o644); err != nil {
		return nil, err
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	record.Members, _, err = digestOf(list)
	record.Size = w.Bytes
	maps.Copy(record.Lost, w.Lost)
	return result, err
}

// publish moves a complete image to its place. It is not an error if another importer was faster:
// its image has the same layers. An image there that cannot be opened is moved out of the way.
func (s *Store) publish(name, entry string) error {
	from, to := filepath.Join(image.TmpDir, name), filepath.Join(image.ImagesDir, entry)
	for range 3 {
		err := s.again(func() error { return s.root.Rename(from, to) })
		if err == nil {
			return errors.Join(syncDir(s.root, image.ImagesDir), syncDir(s.root, image.TmpDir))
		}
		if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("publish: %w", err)
		}
		if found, err := s.openEntry(entry); err == nil {
			return found.Close()
		}
		if err := s.discard(entry); err != nil {
			return err
		}
	}
	return fmt.Errorf("publish %s: another image keeps appearing in its place", entry)
}
