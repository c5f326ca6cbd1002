package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/archive"
	"github.com/ocishim/ocishim/internal/image/export"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/image/storage"
)

func (p *program) saveCommand() *cli.Command {
	return &cli.Command{
		Name: "save", Usage: "write an image with what a container has changed in it, for run-image --save", ArgsUsage: "IMAGE FILE",
		Description: "FILE is a squashfs file, or an OCI archive if its name ends in .tar. It is replaced when the new one is\n" +
			"complete.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "changes", Usage: "add the changes in `DIR`, the upper directory of an overlay", Required: true}},
		Action: func(c *cli.Context) error {
			if err := wants(c, 2, 2, "an image and a file"); err != nil {
				return err
			}
			return look(c, func(stores image.Stores) error {
				found, err := p.find(c, stores)
				if err != nil {
					return err
				}
				src := storage.Source(found)
				return errors.Join(save(c.Context, src, c.String("changes"), c.Args().Get(1)), src.Close())
			})
		},
	}
}

// save writes the image and the changes beside the file, and then replaces the file.
func save(ctx context.Context, src *source.Source, changes, file string) error {
	upper, err := os.OpenRoot(changes)
	if err != nil {
		return fmt.Errorf("save image: %w", err)
	}
	defer upper.Close() //nolint:errcheck // only read from
	write := func(ctx context.Context, w io.Writer) error { return archive.Changes(ctx, w, upper) }
	src.Packed = nil // it is no longer what it was
	src.Layers = append(src.Layers, source.Layer{
		Size: -1, Open: func(ctx context.Context) (io.ReadCloser, error) { return archive.Stream(ctx, write), nil },
	})
	format := export.Squashfs
	if filepath.Ext(file) == ".tar" {
		format = export.OCIArchive
	}
	shown := newProgress(os.Stderr, "save "+src.Reference, -1)
	defer shown.end()
	half := filepath.Join(filepath.Dir(file), ".ocishim-save-"+rand.Text())
	if err := export.Write(ctx, src, format, half, export.Options{Limits: layers.DefaultLimits(), Read: shown.read}); err != nil {
		return err
	}
	if err := os.Rename(half, file); err != nil {
		return errors.Join(fmt.Errorf("save image: %w", err), os.Remove(half))
	}
	return nil
}
