package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// errNoStore says that it is not known where the user's store is.
var errNoStore = errors.New("no store")

// place returns where the user's own store is, the only one that is written to.
func place(c *cli.Context) (image.Place, error) {
	path := c.String("store")
	if path == "" {
		return image.Place{}, errNoStore
	}
	path, err := filepath.Abs(path)
	return image.Place{Path: path, Owners: []int{os.Geteuid()}}, err
}

// sites returns where the site's stores are, which are only read.
func sites(c *cli.Context) (places []image.Place, err error) {
	for _, path := range c.StringSlice("site-store") {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		places = append(places, image.Place{Path: path, Owners: append([]int{os.Geteuid()}, c.IntSlice("site-owner")...)})
	}
	return places, nil
}

// errNoLocal says that it is not known where this host's own disk is.
var errNoLocal = errors.New("no store on the hosts' own disks")

// localPlace returns where the store on this host's own disk is.
func localPlace(c *cli.Context) (image.Place, error) {
	path := c.String("local-store")
	if path == "" {
		return image.Place{}, errNoLocal
	}
	path, err := filepath.Abs(path)
	return image.Place{Path: path, Owners: []int{os.Geteuid()}}, err
}

// changed returns the store that a verb changes: with --local the one on this host's disk.
func changed(c *cli.Context) (image.Place, error) {
	if c.Bool("local") {
		return localPlace(c)
	}
	return place(c)
}

func localFlag() cli.Flag {
	return &cli.BoolFlag{Name: "local", Usage: "change the store on this host's own disk"}
}

// change runs do on the user's own store, and creates the store if it is missing.
func change(c *cli.Context, do func(*storage.Store) error) error {
	p, err := changed(c)
	if err != nil {
		return err
	}
	s, err := storage.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// look runs do on all stores that exist, the site's first; they may be read-only. A site's
// store that cannot be trusted is skipped with a warning; for the user's own that is an error.
func look(c *cli.Context, do func(image.Stores) error) error {
	places, err := sites(c)
	if err != nil {
		return err
	}
	if local, err := localPlace(c); err == nil {
		places = append([]image.Place{local}, places...)
	}
	stores, reasons := image.OpenStores(places...)
	warn(reasons)
	own, err := place(c)
	if err != nil && (!errors.Is(err, errNoStore) || len(places) == 0) {
		return errors.Join(err, stores.Close())
	}
	if err == nil {
		more, reasons := image.OpenStores(own)
		if len(reasons) > 0 {
			return errors.Join(append(reasons, stores.Close())...)
		}
		stores = append(stores, more...)
	}
	return errors.Join(do(stores), stores.Close())
}

// warn prints why something was skipped.
func warn(reasons []error) {
	for _, reason := range reasons {
		say(reason.Error())
	}
}

// isDigest reports whether an argument is a digest alone.
func isDigest(arg string) bool { return image.ValidDigest(image.Digest(arg)) }

// names returns the names by which a store may know an image, in the order of search.
func names(r image.Reference) (names []string) {
	for _, candidate := range r.Candidates() {
		names = append(names, candidate.String())
	}
	return names
}

// lookup returns what a name means in the stores. The error is image.ErrNotFound if no store
// knows it.
func lookup(s image.Stores, r image.Reference) (image.Digest, error) {
	if r.Digest != "" {
		// The digest may be an index's: then no image has it, but a store may know the name.
		if found, _, err := s.Find(r.Digest); err == nil {
			return r.Digest, found.Close()
		}
	}
	var failed error
	for _, name := range names(r) {
		ref, reasons, err := s.Lookup(name)
		warn(reasons)
		if err == nil {
			return ref.Digest, nil
		}
		failed = err
	}
	return "", failed
}

// digestOf returns what the argument means: a digest, or a name that a store knows.
func (p *program) digestOf(c *cli.Context, s image.Stores) (image.Digest, error) {
	arg := c.Args().First()
	if isDigest(arg) {
		return image.Digest(arg), nil
	}
	rules, err := p.rules(c)
	if err != nil {
		return "", err
	}
	r, err := image.ParseReference(arg, rules)
	if err != nil {
		return "", err
	}
	if r.Kind == image.KindPath {
		return lookupFile(s, r)
	}
	digest, err := lookup(s, r)
	if err == nil || r.Kind != image.KindName || !rules.Bare {
		return digest, err
	}
	if r, err = r.InRegistry(rules); err != nil {
		return "", err
	}
	return lookup(s, r)
}

// lookupFile finds what was imported from a path, by what the path leads to. If that is gone,
// it tries each kind that may have been there.
func lookupFile(s image.Stores, r image.Reference) (image.Digest, error) {
	decided, failed := r.Decide()
	if failed == nil {
		return lookup(s, decided)
	}
	for _, kind := range []image.Kind{image.KindSquashfs, image.KindSIF, image.KindArchive, image.KindLayout, image.KindRootFS} {
		r.Kind = kind
		if digest, err := lookup(s, r); err == nil {
			return digest, nil
		}
	}
	return "", failed
}

// find opens the image that the argument means.
func (p *program) find(c *cli.Context, s image.Stores) (*image.Image, error) {
	digest, err := p.digestOf(c, s)
	if err != nil {
		return nil, err
	}
	found, reasons, err := s.Find(digest)
	warn(reasons)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Args().First(), err)
	}
	return found, nil
}
