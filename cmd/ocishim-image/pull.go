package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/export"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/policy"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// formatAuto chooses the format by the store's file system.
const formatAuto = "auto"

func importFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Value: formatAuto, Usage: "sqfs, tree or auto: a tree on a local file system, otherwise sqfs"},
		platformFlag(),
		&cli.StringFlag{Name: "name", Usage: "also call the image `NAME` in the store"},
		&cli.BoolFlag{Name: "share", Usage: "allow an image that needs credentials in a store that others can read"},
	}
}

func (p *program) pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "import an image, and print its digest; or write it to DIR, as a bundle", ArgsUsage: "IMAGE [DIR]",
		Flags: importFlags(),
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 2, "an image, and optionally a directory for a bundle"); err != nil {
				return err
			}
			if c.NArg() == 2 {
				return p.pullBundle(c)
			}
			return p.pull(c, c.Args().First())
		},
	}
}

func (p *program) importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "import an image from a file or directory, and print its digest", ArgsUsage: "FILE|DIR",
		Flags: importFlags(),
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 1, "one file or directory"); err != nil {
				return err
			}
			path := c.Args().First()
			if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "~/") {
				path = "./" + path
			}
			return p.pull(c, path)
		},
	}
}

// pull imports an image unless a store has it, and prints its digest.
func (p *program) pull(c *cli.Context, arg string) error {
	wish, err := readWish(c)
	if err != nil {
		return err
	}
	own, err := place(c)
	if err != nil {
		return err
	}
	s, err := storage.Open(own)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // what was written is written
	places, err := sites(c)
	if err != nil {
		return err
	}
	shared, reasons := image.OpenStores(places...)
	warn(reasons)
	defer shared.Close() //nolint:errcheck // only read from
	found, err := p.fetch(c, arg, s, shared, wish)
	if err != nil {
		return err
	}
	if wish.name != "" {
		if err := s.SetRef(wish.name, found.Digest); err != nil {
			return errors.Join(err, found.Close())
		}
	}
	fmt.Println(found.Digest)
	return found.Close()
}

// A wish holds the options of an import.
type wish struct {
	format   string // of the result
	prefer   string // of an import without one
	platform image.Platform
	name     string
}

func readWish(c *cli.Context) (w wish, err error) {
	w.format, w.name = c.String("format"), c.String("name")
	w.prefer = c.String("prefer")
	for option, format := range map[string]string{"format": w.format, "prefer": w.prefer} {
		if format != formatAuto && format != string(image.Squashfs) && format != string(image.Tree) {
			return w, usageError{fmt.Errorf("--%s %s: must be sqfs, tree or auto", option, format)}
		}
	}
	if w.name != "" && !image.ValidName(w.name) {
		return w, usageError{fmt.Errorf("--name %s: only letters, digits, '.', '_' and '-' are allowed", w.name)}
	}
	if w.platform, err = platform(c); err != nil {
		err = usageError{err}
	}
	return w, err
}

// formats returns the formats that the user accepts; nil means any.
func (w wish) formats() []image.Format {
	if w.format == formatAuto {
		return nil
	}
	return []image.Format{image.Format(w.format)}
}

// fetch returns the image from one of the stores, and imports it into s if none has it.
func (p *program) fetch(c *cli.Context, arg string, s *storage.Store, shared image.Stores, w wish) (*image.Image, error) {
	stores := append(append(image.Stores{}, shared...), s.Store)
	if isDigest(arg) {
		found, reasons, err := stores.Find(image.Digest(arg), w.formats()...)
		if other, _, e := stores.Find(image.Digest(arg)); err != nil && e == nil {
			return p.convert(c, s, other, w)
		}
		warn(reasons)
		return found, err
	}
	r, err := p.parse(c, arg)
	if err != nil {
		return nil, err
	}
	if found, err := p.inStore(c, s, stores, r, w); found != nil || err != nil {
		return found, err
	}
	if r, err = p.fetchable(c, r); err != nil {
		return nil, err
	}
	if found, err := p.inStore(c, s, stores, r, w); found != nil || err != nil {
		return found, err
	}
	turn, found, err := p.turn(c, s, stores, r, w)
	if found != nil || err != nil {
		return found, err
	}
	found, err = p.importFrom(c, r, s, shared, w, turn)
	return found, errors.Join(err, turn.End())
}

// importFrom imports an image that no store has, and records its name.
func (p *program) importFrom(c *cli.Context, r image.Reference, s *storage.Store, shared image.Stores, w wish, turn *storage.Turn) (*image.Image, error) {
	src, err := p.open(c, r, w.platform)
	if err != nil {
		return nil, err
	}
	defer src.Close() //nolint:errcheck // only read from
	if found, _, err := shared.Find(src.Digest, w.formats()...); err == nil {
		return found, nil
	}
	found, err := p.store(c, s, src, w, turn)
	if err != nil {
		return nil, err
	}
	// A name means the image for this host's platform. Others are found by digest only.
	if w.platform == image.HostPlatform().Normal() {
		if before, err := s.Lookup(src.Reference); err == nil && (r.Kind == image.KindRegistry || r.Kind == image.KindORAS) {
			if line := (image.Ref{Name: before.Name, Digest: src.Digest, Time: time.Now()}).Moved(before); line != "" {
				note(line)
			}
		}
		if err := s.SetRef(src.Reference, src.Digest); err != nil {
			return nil, errors.Join(err, found.Close())
		}
	}
	return found, nil
}

// inStore returns the image that kept finds, in a format that is wished for. It returns nil if no
// store has the image in any format.
func (p *program) inStore(c *cli.Context, s *storage.Store, stores image.Stores, r image.Reference, w wish) (*image.Image, error) {
	if found := kept(stores, r, w); found != nil {
		return found, nil
	}
	if other := kept(stores, r, wish{format: formatAuto, prefer: w.prefer, platform: w.platform}); other != nil {
		return p.convert(c, s, other, w)
	}
	return nil, nil
}

// convert makes the image's other format from the one that a store has.
func (p *program) convert(c *cli.Context, s *storage.Store, other *image.Image, w wish) (*image.Image, error) {
	src := storage.Source(other)
	defer src.Close() //nolint:errcheck // only read from
	return p.store(c, s, src, w, nil)
}

// kept finds an image in the stores if no registry or file has to be asked: the reference has
// a digest, or is a name that only a store can know. It returns nil if no store has it.
func kept(stores image.Stores, r image.Reference, w wish) *image.Image {
	if r.Digest == "" && r.Kind != image.KindName {
		return nil
	}
	digest, err := lookup(stores, r)
	if err != nil {
		return nil
	}
	found, _, err := stores.Find(digest, w.formats()...)
	if err != nil {
		return nil
	}
	if found.Platform.Normal() != w.platform.Normal() && r.Digest != found.Digest {
		found.Close() //nolint:errcheck // only read from
		return nil
	}
	return found
}

// errNotFetched says that a reference names something that cannot be imported.
var errNotFetched = errors.New("this cannot be imported into a store")

// fetchable returns the reference that an image is fetched by.
func (p *program) fetchable(c *cli.Context, r image.Reference) (image.Reference, error) {
	switch r.Kind {
	case image.KindName:
		rules, err := p.rules(c)
		if err != nil {
			return r, err
		}
		return r.InRegistry(rules)
	case image.KindContainer, image.KindEDF, image.KindBundle:
		return r, fmt.Errorf("%s (%s): %w", r.String(), r.Kind, errNotFetched)
	}
	return r, nil
}

// open reads an image's manifest and configuration.
func (p *program) open(c *cli.Context, r image.Reference, platform image.Platform) (*source.Source, error) {
	accepted, err := policy.Load(p.policies()...)
	if err != nil {
		return nil, err
	}
	if !r.Short {
		if err := accepted.Check(r); err != nil {
			return nil, fmt.Errorf("open image %s: %w", r.String(), err)
		}
		return p.openAny(c, r, platform)
	}
	src, err := p.openAny(c, r, platform)
	if err != nil {
		return nil, err
	}
	// Only now it is known in which of the registries the image was found.
	found, err := image.ParseReference(src.Reference, image.Rules{})
	if err == nil {
		err = accepted.Check(found)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open image %s: %w", src.Reference, err), src.Close())
	}
	return src, nil
}

// openAny opens an image, whatever the policy.
func (p *program) openAny(c *cli.Context, r image.Reference, platform image.Platform) (*source.Source, error) {
	o := source.Options{Platform: platform, Environment: p.credentials(c.String("authfile"))}
	o.TempDir = absolute(o.Environment.Getenv("TMPDIR"))
	if r.Kind == image.KindRegistry || r.Kind == image.KindORAS {
		var err error
		if o.Registry, err = p.client(c); err != nil {
			return nil, err
		}
	}
	return source.Open(c.Context, r, o)
}

// job returns the job that this process belongs to, for those who wait for it.
func (p *program) job() string { return p.credentials("").Getenv("SLURM_JOB_ID") }

// store imports an image and shows the progress.
func (p *program) store(c *cli.Context, s *storage.Store, src *source.Source, w wish, turn *storage.Turn) (*image.Image, error) {
	format := image.Format(w.format)
	if w.format == formatAuto {
		format = image.Format(w.prefer)
	}
	if format == formatAuto {
		format = image.Squashfs
		if src.Packed == nil {
			var err error
			if format, _, err = s.Format(); err != nil {
				return nil, err
			}
		}
	}
	shown := newProgress(os.Stderr, src.Reference, src.Size())
	defer shown.end()
	return s.Import(c.Context, src, storage.Options{
		Format: format, Limits: layers.DefaultLimits(), Job: p.job(), Share: c.Bool("share"),
		Read: shown.read, Waiting: shown.waiting, Turn: turn,
	})
}

// source opens an image in a store that has it, otherwise where its name says.
func (p *program) source(c *cli.Context, arg string, w wish) (src *source.Source, err error) {
	err = look(c, func(stores image.Stores) error {
		if isDigest(arg) {
			found, reasons, err := stores.Find(image.Digest(arg))
			warn(reasons)
			if err == nil {
				src = storage.Source(found)
			}
			return err
		}
		r, err := p.parse(c, arg)
		if err != nil {
			return err
		}
		if found := kept(stores, r, w); found != nil {
			src = storage.Source(found)
			return nil
		}
		if r, err = p.fetchable(c, r); err != nil {
			return err
		}
		src, err = p.open(c, r, w.platform)
		return err
	})
	return src, err
}

// pullBundle writes an image to a directory as a bundle, without importing it into a store.
func (p *program) pullBundle(c *cli.Context) error {
	w, err := readWish(c)
	if err != nil {
		return err
	}
	if c.IsSet("format") || w.name != "" {
		return usageError{errors.New("--format and --name are for stores, not for a bundle")}
	}
	src, err := p.source(c, c.Args().First(), w)
	if err != nil {
		return err
	}
	shown := newProgress(os.Stderr, src.Reference, src.Size())
	err = export.Write(c.Context, src, export.Bundle, c.Args().Get(1), export.Options{Limits: layers.DefaultLimits(), Read: shown.read})
	shown.end()
	if err := errors.Join(err, src.Close()); err != nil {
		return err
	}
	fmt.Println(src.Digest)
	return nil
}

func (p *program) resolveCommand() *cli.Command {
	return &cli.Command{
		Name: "resolve", Usage: "print the digest that an image's name has now for the platform, without importing it", ArgsUsage: "IMAGE",
		Flags: []cli.Flag{platformFlag()},
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 1, "one image"); err != nil {
				return err
			}
			platform, err := platform(c)
			if err != nil {
				return usageError{err}
			}
			src, err := p.source(c, c.Args().First(), wish{format: formatAuto, platform: platform})
			if err != nil {
				return err
			}
			fmt.Println(src.Digest)
			return src.Close()
		},
	}
}
