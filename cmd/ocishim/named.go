package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/environment"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
)

// errNoName says that a single word is the name of nothing that can be run.
var errNoName = errors.New("no environment or image has this name")

// A named is what the first argument of run-image stands for.
type named struct {
	ref         image.Reference
	image, pull request.Choice

	// annotations are what an environment and --annotation say; nil without them.
	annotations map[string]string
}

// readNamed decides what a name stands for: an environment, or else an image or a bundle.
func readNamed(c *cli.Context, cfg *config.Config, dir string) (named, error) {
	arg := c.Args().First()
	n := named{image: request.Choice{Value: arg, By: imageBy(c)}, pull: pullOf(c)}
	finder := imageFinder{config: cfg, env: os.Environ(), dir: dir}
	var err error
	if n.annotations, err = annotate(c, nil); err != nil {
		return n, err
	}
	if n.ref, err = finder.parse(arg); err != nil {
		return n, err
	}
	places := environment.PlacesOf(os.Environ(), dir, cfg.Image.Environments)
	path, found, err := places.Resolve(n.ref)
	if err != nil || !found {
		return n, err
	}
	e, err := environment.LoadFile(path, places)
	if err != nil {
		return n, err
	}
	n.image = e.Image
	if n.pull.Value == "" {
		n.pull = e.Pull
	}
	if n.annotations, err = e.ContainerAnnotations(); err == nil {
		n.annotations, err = annotate(c, n.annotations)
	}
	if err != nil {
		return n, err
	}
	n.ref, err = finder.parse(e.Image.Value)
	switch {
	case err != nil:
		return n, fmt.Errorf("%s: %w", e.Image.By, err)
	case n.ref.Kind == image.KindEDF:
		return n, fmt.Errorf("%s: %s is an environment: name it in base_environment", e.Image.By, text.Quoted(e.Image.Value))
	}
	return n, nil
}

// noName returns the error for a single word that is neither an environment nor an image.
func (f *imageFinder) noName(name string) error {
	places := environment.PlacesOf(f.env, f.dir, f.config.Image.Environments)
	_, err := places.Find(name)
	return fmt.Errorf("%w: no store has an image %s, and %w", errNoName, text.Quoted(name), err)
}

// environmentDirs returns the option by which ocishim-image finds the site's environments.
func environmentDirs(cfg *config.Config) []string {
	if len(cfg.Image.Environments) == 0 {
		return nil
	}
	return []string{"--environments", strings.Join(cfg.Image.Environments, string(filepath.ListSeparator))}
}
