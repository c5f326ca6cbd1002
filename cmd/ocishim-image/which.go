package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/export"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/storage"
	"github.com/ocishim/ocishim/internal/text"
)

// A decision is what a name means, as `which` prints it.
type decision struct {
	Asked     string       `json:"asked"`
	Kind      image.Kind   `json:"kind"`
	Reference string       `json:"reference"`
	Others    []string     `json:"others,omitempty"` // references that are tried after it
	Digest    image.Digest `json:"digest,omitempty"` // of the image in the store
	Store     string       `json:"store,omitempty"`
	Path      string       `json:"path,omitempty"` // of the root file system
	Format    image.Format `json:"format,omitempty"`
	Imported  string       `json:"imported,omitempty"` // the name that it was imported by
}

func (p *program) whichCommand() *cli.Command {
	return &cli.Command{
		Name: "which", Usage: "print what a name means, and which store has it", ArgsUsage: "IMAGE",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print it as JSON"}},
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 1, "one image"); err != nil {
				return err
			}
			return look(c, func(stores image.Stores) error {
				d, err := p.decide(c, c.Args().First(), stores)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return printJSON(d)
				}
				return d.print()
			})
		},
	}
}

// decide finds out what a name means, without asking a registry.
func (p *program) decide(c *cli.Context, arg string, stores image.Stores) (decision, error) {
	d := decision{Asked: arg, Kind: "digest", Reference: arg}
	digest := image.Digest(arg)
	if !isDigest(arg) {
		r, err := p.parse(c, arg)
		if err != nil {
			return d, err
		}
		digest, err = lookup(stores, r)
		if err != nil && r.Kind == image.KindName {
			if r, err = p.fetchable(c, r); err != nil {
				return d, err
			}
			digest, err = lookup(stores, r)
		}
		if err != nil && !errors.Is(err, image.ErrNotFound) {
			return d, err
		}
		all := names(r)
		d.Kind, d.Reference, d.Others = r.Kind, all[0], all[1:]
	}
	if digest == "" {
		return d, nil
	}
	found, reasons, err := stores.Find(digest)
	warn(reasons)
	if errors.Is(err, image.ErrNotFound) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.Digest, d.Store, d.Path, d.Format, d.Imported = found.Digest, found.Store.Path, found.Path, found.Format, found.Reference
	return d, found.Close()
}

func (d decision) print() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, text.Whole(value))
		}
	}
	line("kind", string(d.Kind))
	line("reference", d.Reference)
	line("then", strings.Join(d.Others, " "))
	if d.Store == "" {
		line("store", "none has the image")
		return w.Flush()
	}
	line("store", d.Store)
	line("digest", string(d.Digest))
	line("format", string(d.Format))
	line("path", d.Path)
	return w.Flush()
}

func (p *program) exportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write an image of the store to a file or directory for other programs", ArgsUsage: "IMAGE FILE|DIR",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: string(export.OCIArchive), Usage: "oci, oci-archive, docker-archive, sqfs, rootfs or bundle"},
		},
		Action: func(c *cli.Context) error {
			if err := wants(c, 2, 2, "an image, and a file or directory"); err != nil {
				return err
			}
			return look(c, func(stores image.Stores) error {
				found, err := p.find(c, stores)
				if err != nil {
					return err
				}
				src := storage.Source(found)
				shown := newProgress(os.Stderr, src.Reference, found.Size)
				err = export.Write(c.Context, src, export.Format(c.String("format")), c.Args().Get(1), export.Options{
					Limits: layers.DefaultLimits(), Tag: tagOf(src.Reference), Read: shown.read,
				})
				shown.end()
				return errors.Join(err, src.Close())
			})
		},
	}
}

// tagOf returns the name of an image in an archive: for a registry image, the name as people
// write it; otherwise "".
func tagOf(reference string) string {
	r, err := image.ParseReference(reference, image.Rules{})
	if err != nil || r.Kind != image.KindRegistry || r.Tag == "" {
		return ""
	}
	r.Digest = ""
	return r.Familiar()
}
