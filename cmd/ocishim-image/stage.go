package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/image/storage"
	"github.com/ocishim/ocishim/internal/text"
)

func (p *program) stageCommand() *cli.Command {
	return &cli.Command{
		Name: "stage", Usage: "copy an image to the own disks of the job's hosts, so that later steps start it from there", ArgsUsage: "IMAGE [DIR]",
		Description: "In a job, by its batch script or its shell of salloc, the image is copied to every host of the job: a\n" +
			"squashfs by sbcast, a directory by a task on each host. In a step, and outside of jobs, it is copied to\n" +
			"this host. DIR takes the place of --local-store.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: formatAuto, Usage: "keep the copies as sqfs, tree or auto: what the store has, a squashfs if it has both"},
			&cli.StringFlag{Name: "pull", Usage: "ask the registry `WHEN` missing, always (once per job) or never", DefaultText: "$" + image.PullVariable + ", or missing"},
		},
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 2, "an image, and optionally a directory"); err != nil {
				return err
			}
			if c.NArg() == 2 {
				if err := c.Set("local-store", c.Args().Get(1)); err != nil {
					return err
				}
			}
			return p.stage(c, c.Args().First())
		},
	}
}

// stage copies an image and prints its digest.
func (p *program) stage(c *cli.Context, name string) error {
	local, err := localPlace(c)
	if err != nil {
		return err
	}
	found, err := p.stored(c, name)
	if err != nil {
		return err
	}
	defer found.Close() //nolint:errcheck // only read from
	o := order{Record: found.Record, Format: found.Format}
	if format := c.String("format"); format != formatAuto {
		o.Format = image.Format(format)
	}
	hosts, err := p.hosts(c, local.Path)
	if err != nil {
		return err
	}
	if hosts == nil {
		err = p.keep(c, local, found, o)
	} else {
		err = hosts.stage(c.Context, found, o)
	}
	if err == nil {
		fmt.Println(found.Digest)
	}
	return err
}

// stored opens the image in a store that hosts may share, and imports it if none has it. A squashfs
// goes before a tree, since it is copied as one file.
func (p *program) stored(c *cli.Context, name string) (*image.Image, error) {
	w, err := readWish(c)
	if err != nil {
		return nil, err
	}
	pull, err := p.pullPolicy(c)
	if err != nil {
		return nil, usageError{err}
	}
	digest, tag := image.Digest(name), ""
	if !isDigest(name) {
		ref, err := p.parse(c, name)
		if err != nil {
			return nil, err
		}
		if digest, err = p.meaning(c, ref, pull); err != nil {
			return nil, err
		}
		tag = ref.String()
		if ref = ref.WithDigest(digest); ref.Digest != "" {
			name = ref.String()
		}
	}
	places, err := sites(c)
	if err != nil {
		return nil, err
	}
	shared, reasons := image.OpenStores(places...)
	warn(reasons)
	defer shared.Close() //nolint:errcheck // only read from
	own, err := place(c)
	if err != nil {
		return nil, err
	}
	s, err := storage.Open(own)
	if err != nil {
		return nil, err
	}
	defer s.Close() //nolint:errcheck // what was written is written
	stores := append(append(image.Stores{}, shared...), s.Store)
	for _, formats := range [][]image.Format{{image.Squashfs}, {image.Tree}} {
		if w.format == string(image.Squashfs) && formats[0] == image.Tree {
			break
		}
		if found, _, err := stores.Find(digest, formats...); err == nil {
			return found, nil
		}
	}
	if pull == image.PullNever {
		return nil, fmt.Errorf("%s: %w", name, errNotHere)
	}
	if w.format == string(image.Tree) {
		w.format = formatAuto // the trees are made on the hosts
	}
	found, err := p.fetch(c, name, s, shared, w)
	if _, lerr := s.Lookup(tag); err == nil && tag != "" && errors.Is(lerr, os.ErrNotExist) {
		err = s.SetRef(tag, found.Digest)
	}
	return found, err
}

// An order says what a host is to do, as JSON on the standard input of receive.
type order struct {
	Record  image.Record `json:"record"`
	Format  image.Format `json:"format"`         // of the copy
	File    string       `json:"file,omitempty"` // of TmpDir, which sbcast has written
	Prepare bool         `json:"prepare,omitempty"`
	Discard bool         `json:"discard,omitempty"` // only remove the file
}

const orderMost = 16 << 20 // bytes; a record includes the image's configuration

// receiveCommand is what stage starts on each host. People do not call it.
func (p *program) receiveCommand() *cli.Command {
	return &cli.Command{
		Name: "receive", Usage: "copy an image to this host's own disk, as standard input says", Hidden: true,
		Action: func(c *cli.Context) error {
			if err := wants(c, 0, 0, "no argument"); err != nil {
				return err
			}
			host := p.credentials("").Getenv("SLURMD_NODENAME")
			has, err := p.receive(c)
			if err != nil {
				return fmt.Errorf("on %s: %w", text.Printable(host), err)
			}
			if has {
				fmt.Println(host)
			}
			return nil
		},
	}
}

// receive carries out an order, and reports whether this host has the image afterwards.
func (p *program) receive(c *cli.Context) (has bool, err error) {
	local, err := localPlace(c)
	if err != nil {
		return false, err
	}
	var o order
	decoder := json.NewDecoder(io.LimitReader(os.Stdin, orderMost))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return false, fmt.Errorf("read order: %w", err)
	}
	switch {
	case o.Discard:
		s, err := storage.Open(local)
		if err != nil {
			return false, err
		}
		return false, errors.Join(s.Forget(o.File), s.Close())
	case o.Prepare:
		s, err := storage.Open(local)
		if err != nil {
			return false, err
		}
		return o.kept(s), s.Close()
	case o.File != "":
		return true, p.keep(c, local, nil, o)
	}
	return true, p.fromShared(c, local, o)
}

// kept reports whether a store has the image of the order.
func (o order) kept(s *storage.Store) bool {
	found, err := s.Store.Open(o.Record.Digest, o.Format)
	if err == nil {
		found.Close() //nolint:errcheck // only looked at
	}
	return err == nil
}

// fromShared copies an image from a store that this host sees.
func (p *program) fromShared(c *cli.Context, local image.Place, o order) error {
	places, err := sites(c)
	if err != nil {
		return err
	}
	own, err := place(c)
	if err != nil {
		return err
	}
	stores, reasons := image.OpenStores(append(places, own)...)
	warn(reasons)
	defer stores.Close() //nolint:errcheck // only read from
	found, reasons, err := stores.Find(o.Record.Digest, o.Record.Format)
	warn(reasons)
	if err != nil {
		return err
	}
	return errors.Join(p.keep(c, local, found, o), found.Close())
}

// keep imports an image into the store on this host's own disk: from another store, or from a file
// that was copied there, which it removes. What is kept has the same content.
func (p *program) keep(c *cli.Context, local image.Place, found *image.Image, o order) (err error) {
	s, err := storage.Open(local)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if o.File != "" {
		defer func() { err = errors.Join(err, s.Forget(o.File)) }()
	}
	if o.kept(s) {
		return nil
	}
	options := storage.Options{Format: o.Format, Limits: layers.DefaultLimits(), Job: p.credentials("").Getenv("SLURM_JOB_ID")}
	var src *source.Source
	if found != nil {
		src, options.Like = storage.Source(found), found // the caller closes it
	} else {
		if src, err = s.Received(o.File, o.Record); err != nil {
			return err
		}
		defer src.Close() //nolint:errcheck // only read from
		if o.Format == image.Squashfs {
			options.Adopt = o.File
		}
	}
	shown := newProgress(os.Stderr, src.Reference, o.Record.Size)
	options.Read, options.Waiting = shown.read, shown.waiting
	kept, err := s.Import(c.Context, src, options)
	shown.end()
	if err != nil {
		return err
	}
	return kept.Close()
}

// sayStaging says what is copied where.
func sayStaging(record image.Record, hosts int, local string) {
	note(fmt.Sprintf("copying %s (%s, %s) to %s on %d hosts", text.Printable(record.Reference), record.Format, units.HumanSize(float64(record.Size)), local, hosts))
}
