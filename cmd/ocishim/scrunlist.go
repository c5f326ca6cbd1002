package main

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/scrun"
	"github.com/ocishim/ocishim/runtime"
)

func scrunListCommand() *cli.Command {
	command := listCommand()
	command.Action = list(scrunStates)
	return command
}

func scrunStates(c *cli.Context) ([]runtime.State, error) {
	states := []runtime.State{}
	h, err := scrunHost(c)
	if err != nil {
		return nil, err
	}
	store, err := scrun.Open(false, scrunRoots(c, h)...)
	if errors.Is(err, scrun.ErrNotFound) {
		return states, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := store.All()
	if err != nil {
		return nil, err
	}
	for _, container := range all {
		s := container.State()
		states = append(states, runtime.State{
			Version: s.Version, ID: s.ID, Pid: s.Pid, Status: runtime.Status(s.Status), Bundle: s.Bundle,
			Rootfs: s.Rootfs, Created: s.Created, Annotations: s.Annotations, Owner: userName(),
		})
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
