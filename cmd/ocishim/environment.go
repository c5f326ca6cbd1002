package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/environment"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
)

func envCommand() *cli.Command {
	return &cli.Command{
		Name:      "env",
		Usage:     "list, print and check environment files",
		ArgsUsage: "ls | show ENVIRONMENT | check ENVIRONMENT...",
		Description: "An environment file names an image, and says what you want with it, in TOML: see docs/environments.md.\n" +
			"ENVIRONMENT is its path, such as ./torch.toml, or its name without .toml if it is in a directory of\n" +
			"$OCISHIM_EDF_PATH or $EDF_PATH (or else ~/.edf), or of the site's (image.environments).\n" +
			"`ocishim run-image ENVIRONMENT COMMAND` and srun --container=ENVIRONMENT use it.\n\n" +
			"ls lists the environments that have names. show prints one, with all that it is based on, as one file with\n" +
			"the origin of each value. check finds mistakes, before a job does.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print it as JSON; not of check"}},
		Action: func(c *cli.Context) error {
			names := c.Args().Tail()
			switch verb := c.Args().First(); {
			case verb == "ls" && len(names) == 0:
				return withPlaces(c, listEnvironments)
			case verb == "show" && len(names) == 1:
				return withPlaces(c, showEnvironment)
			case verb == "check" && len(names) > 0 && !c.Bool("json"):
				return withPlaces(c, checkEnvironments)
			}
			return usageError{errors.New("env takes ls, show ENVIRONMENT, or check and environments")}
		},
	}
}

// withPlaces calls a verb with what it needs.
func withPlaces(c *cli.Context, do func(*cli.Context, *config.Config, environment.Places) error) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	return do(c, cfg, environment.PlacesOf(os.Environ(), dir, cfg.Image.Environments))
}

// A listed is an environment as ls --json prints it.
type listed struct {
	environment.File
	Image string `json:"image,omitempty"`
	Error string `json:"error,omitempty"`
}

func listEnvironments(c *cli.Context, _ *config.Config, places environment.Places) error {
	list := []listed{}
	for _, file := range places.List() {
		l := listed{File: file}
		if e, err := environment.LoadFile(file.Path, places); err != nil {
			l.Error = err.Error()
		} else {
			l.Image = e.Image.Value
		}
		list = append(list, l)
	}
	if c.Bool("json") {
		return printJSON(list)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tIMAGE\tFILE")
	for _, l := range list {
		what := l.Image
		if l.Error != "" {
			what = "(has a mistake: ocishim env check " + l.Name + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.Name, text.Whole(what), text.Whole(l.Path))
	}
	return w.Flush()
}

func showEnvironment(c *cli.Context, _ *config.Config, places environment.Places) error {
	e, err := environment.Load(c.Args().Get(1), places)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(struct {
			Files  []string           `json:"files"`
			Values []environment.Line `json:"values"`
		}{e.Files, e.Lines()})
	}
	_, err = os.Stdout.WriteString(e.TOML())
	return err
}

// errEnvironment says that check has found mistakes, which it has printed.
var errEnvironment = errors.New("at least one environment has a mistake")

func checkEnvironments(c *cli.Context, cfg *config.Config, places environment.Places) error {
	var failed error
	for _, name := range c.Args().Tail() {
		warnings, err := checkEnvironment(cfg, places, name)
		switch {
		case err != nil:
			fmt.Printf("FAIL  %s: %v\n", text.Printable(name), err)
			failed = errEnvironment
		case len(warnings) == 0:
			fmt.Printf("ok    %s\n", text.Printable(name))
		}
		for _, warning := range warnings {
			fmt.Printf("warn  %s: %s\n", text.Printable(name), warning)
		}
	}
	return failed
}

// checkEnvironment finds what would fail in a job. Warnings are about what this host lacks, which
// another host may have.
func checkEnvironment(cfg *config.Config, places environment.Places, name string) (warnings []string, err error) {
	e, err := environment.Load(name, places)
	if err != nil {
		return nil, err
	}
	ref, err := (&imageFinder{config: cfg, env: places.Env, dir: places.Dir}).parse(e.Image.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Image.By, err)
	}
	if ref.Kind == image.KindEDF {
		return nil, fmt.Errorf("%s: %s is an environment: name it in base_environment", e.Image.By, text.Quoted(e.Image.Value))
	}
	if _, err := image.ParsePull(e.Pull.Value, e.Pull.By); err != nil {
		return nil, err
	}
	annotations, err := e.ContainerAnnotations()
	if err != nil {
		return nil, err
	}
	wish, err := request.Read(annotations, places.Env, false)
	if err != nil {
		return nil, err
	}
	if err := plan.MayAsk(cfg, wish); err != nil {
		return nil, err
	}
	if err := plan.CheckHooks(annotations, cfg, nil); err != nil {
		return nil, err
	}
	for _, m := range wish.Mounts {
		if source, missing := missingSource(m, places.Dir); missing && !m.Optional {
			warnings = append(warnings, fmt.Sprintf("%s: this host has no %s", m.By, text.Printable(source)))
		}
	}
	return warnings, nil
}

// missingSource reports whether this host lacks the source of a mount.
func missingSource(m request.Mount, dir string) (source string, missing bool) {
	if m.Source == "" {
		return "", false
	}
	if source = m.Source; !filepath.IsAbs(source) {
		source = filepath.Join(dir, source)
	}
	_, err := os.Stat(source)
	return source, errors.Is(err, os.ErrNotExist)
}
