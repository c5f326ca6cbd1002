package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

func startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "start a container that was created",
		ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			t, found, err := findAsOwner(c, 1)
			if err != nil {
				return err
			}
			if t.everyTask() {
				return usageError{errors.New("start takes one task, not all of a step")}
			}
			return found[0].Start()
		},
	}
}

func killCommand() *cli.Command {
	return &cli.Command{
		Name:      "kill",
		Usage:     "send a signal to a container's first process",
		ArgsUsage: "ID [SIGNAL]",
		Description: "SIGNAL is a name, such as KILL or SIGRTMIN+3, or a number; the default is TERM, and 0 only checks\n" +
			"that it runs. Task -1 in the ID of a Slurm task means all tasks of the step on this host.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "send it to every process of the container, even if the first one has ended"},
		},
		Action: kill,
	}
}

func kill(c *cli.Context) error {
	name := c.Args().Get(1)
	if name == "" {
		name = "TERM"
	}
	sig, err := runtime.ParseSignal(name)
	if err != nil {
		return err
	}
	t, found, err := findAsOwner(c, 2)
	if err != nil {
		return err
	}
	return killAll(t, found, sig, c.Bool("all"))
}

// killAll signals the containers. A container that has ended is not an error if several are
// addressed, nor with --all: the caller only wants none to run.
func killAll(t *target, found []*runtime.Container, sig unix.Signal, all bool) error {
	var failures []error
	for _, container := range found {
		err := container.Kill(sig, all)
		if errors.Is(err, entry.ErrNotRunning) && (all || t.everyTask()) {
			err = nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "remove a container that has ended",
		ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill it first if it runs; an unknown ID is not an error"},
		},
		Action: remove,
	}
}

func remove(c *cli.Context) error {
	force := c.Bool("force")
	t, found, err := findAsOwner(c, 1)
	if force && errors.Is(err, entry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var failures []error
	for _, container := range found {
		if t.everyTask() {
			failures = append(failures, container.Delete(force))
		} else {
			failures = append(failures, container.DeleteTask(force))
		}
	}
	return errors.Join(failures...)
}

// findAsOwner returns the containers that the first of at most `most` arguments stands for. If
// their state is a user's, it gives up root, as readTargetAsOwner does.
func findAsOwner(c *cli.Context, most int) (*target, []*runtime.Container, error) {
	if n := c.Args().Len(); n == 0 || n > most {
		return nil, nil, usageError{fmt.Errorf("%s takes %s, got %d arguments", c.Command.Name, c.Command.ArgsUsage, n)}
	}
	t, err := readTargetAsOwner(c, c.Args().First(), slurm.FromEnv(os.Environ()), nil)
	if err != nil {
		return nil, nil, err
	}
	found, err := t.containers()
	return t, found, err
}
