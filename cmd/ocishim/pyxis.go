package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
)

// errPyxis says that --pyxis was not written by the plugin.
var errPyxis = errors.New("expected KEY:BY=VALUE, as the plugin writes it")

// pyxisVariables are those of pyxis, all of which the plugin reads.
const pyxisVariables = "PYXIS_CONTAINER_"

// A pyxisWish is one --pyxis: what the plugin for Slurm read as an option or a variable of pyxis.
type pyxisWish struct{ key, by, value string }

// pyxisFlag is how the plugin (spank/ocishim.c) passes on what it read.
func pyxisFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "pyxis", Usage: "for Slurm's plugin: ask for `KEY:BY=VALUE`, as pyxis does"}
}

func pyxisWishes(c *cli.Context) ([]pyxisWish, error) {
	var wishes []pyxisWish
	for _, value := range c.StringSlice("pyxis") {
		var w pyxisWish
		name, value, found := strings.Cut(value, "=")
		w.value = value
		w.key, w.by, _ = strings.Cut(name, ":")
		if !found || w.key == "" || w.by == "" {
			return nil, usageError{fmt.Errorf("--pyxis: %w", errPyxis)}
		}
		wishes = append(wishes, w)
	}
	return wishes, nil
}

// isSynonym reports whether a variable asked for it which run-image reads itself.
func (w pyxisWish) isSynonym() bool {
	return slices.ContainsFunc(request.Keys(), func(k request.Key) bool { return k.Name == w.key && (k.Synonym == w.by || k.Opposite == w.by) })
}

// readPyxis adds what the plugin read of options. As with pyxis, the command begins in the image's
// directory, and the job's is not mounted for its own sake.
func readPyxis(c *cli.Context, r *request.Request) error {
	wishes, err := pyxisWishes(c)
	if err != nil {
		return err
	}
	r.OwnDirectory = len(wishes) > 0
	for _, w := range wishes {
		if w.key == imageKey || w.isSynonym() {
			continue
		}
		if !slices.ContainsFunc(request.Keys(), func(k request.Key) bool { return k.Name == w.key }) {
			if w.value == "false" {
				continue // what ocishim does not have is off
			}
			return fmt.Errorf("%s: this version of ocishim cannot do that: leave it out", text.Printable(w.by))
		}
		if err := r.SetText(w.key, w.value, w.by); err != nil {
			return err
		}
	}
	return nil
}

// imageKey is the key of the image, which is the first argument as well.
const imageKey = "image"

// imageBy returns who named the image.
func imageBy(c *cli.Context) string {
	wishes, _ := pyxisWishes(c) // read again, and checked, with the other wishes
	for _, w := range wishes {
		if w.key == imageKey {
			return w.by
		}
	}
	return imageKey
}

// withoutPyxis returns the environment without the variables of pyxis over which options of the
// plugin have won, or that it does not count.
func withoutPyxis(c *cli.Context, env []string) []string {
	wishes, _ := pyxisWishes(c)
	if len(wishes) == 0 {
		return env
	}
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, pyxisVariables) &&
			!slices.ContainsFunc(wishes, func(w pyxisWish) bool { return w.by == name && w.isSynonym() })
	})
}

// leavesErrors reports whether what is wrong with the image or the wishes is left to the first task
// of the step on this host, which finds the same. Users of pyxis expect one error for each host.
func leavesErrors(c *cli.Context) bool {
	task := os.Getenv("SLURM_LOCALID")
	return len(c.StringSlice("pyxis")) > 0 && task != "" && task != "0"
}

// taskFinder returns what finds the image for a task.
func taskFinder(c *cli.Context, cfg *config.Config, pull request.Choice, dir string) (*imageFinder, error) {
	finder, err := newImageFinder(cfg, pull, dir, os.Environ())
	if err == nil {
		finder.quiet = leavesErrors(c)
	}
	return finder, err
}
