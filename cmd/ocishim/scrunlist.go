package main

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/scrun"
)

func scrunListCommand() *cli.Command {
	command := listCommand()
	command.Action = list(scrunStates)
	return command
}

func scrunStates(c *cli.Context) ([]entry.State, error) {
	states := []entry.State{}
	h, err := scrunHost(c)
	if err != nil {
		return nil, err
	}
	stores, err := scrun.OpenStores(scrunRoots(c, h)...)
	if errors.Is(err, entry.ErrNotFound) {
		return states, nil
	}
	if err != nil {
		return nil, err
	}
	for _, store := range stores {
		all, err := store.All()
		if err != nil {
			return nil, err
		}
		for _, container := range all {
			state := container.State()
			state.Owner = userName()
			states = append(states, state)
		}
	}
	return states, nil
}

// scrunFeaturesCommand prints what can be said without the compute node: the versions of the
// specification that are supported.
func scrunFeaturesCommand() *cli.Command {
	command := featuresCommand()
	command.Action = func(c *cli.Context) error {
		if c.Args().Present() {
			return usageError{fmt.Errorf("features takes no argument, got %q", c.Args().First())}
		}
		return printJSON(features.Features{
			OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version,
			Annotations: map[string]string{"org.ocishim.version": version},
		})
	}
	return command
}
