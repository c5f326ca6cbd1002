package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/environment"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

func environmentsFlag() cli.Flag {
	return &cli.StringFlag{Name: "environments", Usage: "look for environment files in `DIRS` too, with colons between them"}
}

// environment returns the environment that a reference names, and the reference of its image; nil
// if it names something else.
func (p *program) environment(c *cli.Context, r image.Reference, rules image.Rules) (*environment.Environment, image.Reference, error) {
	places := environment.PlacesOf(p.env, p.dir, filepath.SplitList(c.String("environments")))
	path, found, err := places.Resolve(r)
	if err != nil || !found {
		return nil, r, err
	}
	e, err := environment.LoadFile(path, places)
	if err != nil {
		return nil, r, err
	}
	if r, err = image.ParseReference(e.Image.Value, rules); err == nil {
		r, err = r.Decide()
	}
	if err == nil && r.Kind == image.KindEDF {
		err = fmt.Errorf("%s is an environment: name it in base_environment", text.Quoted(e.Image.Value))
	}
	if err != nil {
		return nil, r, fmt.Errorf("%s: %w", e.Image.By, err)
	}
	return e, r, nil
}

// parse reads an argument by its form and, for a path, by what the path leads to. An environment
// stands for its image.
func (p *program) parse(c *cli.Context, arg string) (image.Reference, error) {
	r, _, err := p.parseEnvironment(c, arg)
	return r, err
}

// parseEnvironment is parse, and returns the environment too; nil without one.
func (p *program) parseEnvironment(c *cli.Context, arg string) (image.Reference, *environment.Environment, error) {
	rules, err := p.rules(c)
	if err != nil {
		return image.Reference{}, nil, err
	}
	r, err := image.ParseReference(arg, rules)
	if err != nil {
		return r, nil, err
	}
	if r, err = r.Decide(); err != nil {
		return r, nil, err
	}
	e, r, err := p.environment(c, r, rules)
	return r, e, err
}
