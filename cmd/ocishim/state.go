package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

func stateCommand() *cli.Command {
	return &cli.Command{
		Name:      "state",
		Usage:     "print the state of a container as one JSON object",
		ArgsUsage: "ID",
		Description: "On success nothing else is printed, since Slurm reads stdout and stderr together.\n" +
			"Task -1 in the ID of a Slurm task means all tasks of the step on this host.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "edits", Usage: "print instead what was changed in the bundle's configuration, as a JSON array"},
			&cli.BoolFlag{Name: "missing-ok", Usage: "print {} for a container that does not exist, instead of an error (for RunTimeQuery of oci.conf)"},
		},
		Action: showState,
	}
}

func showState(c *cli.Context) error {
	if c.Bool("edits") && c.Bool("missing-ok") {
		return usageError{errors.New("--missing-ok does not go with --edits")}
	}
	t, found, err := findAsOwner(c, 1)
	switch {
	// Slurm prints anything it cannot read as a state into the job's output, after the error of the
	// run that left no state. An object without a status tells Slurm the same, that there is
	// nothing to kill or delete, without a message.
	case c.Bool("missing-ok") && errors.Is(err, entry.ErrNotFound):
		return printJSON(struct{}{})
	case err != nil:
		return err
	case c.Bool("edits"):
		return printEdits(t, found)
	}
	return printJSON(stateOf(t, found))
}

// stateOf returns the state of the one container, or the common state of all tasks of a step:
// running if any of them runs, stopped if all have stopped.
func stateOf(t *target, found []*runtime.Container) entry.State {
	rank := map[entry.Status]int{entry.Stopped: 0, entry.Creating: 1, entry.Created: 2, entry.Paused: 3, entry.Running: 4}
	state := found[0].State()
	for _, c := range found[1:] {
		if other := c.State(); rank[other.Status] > rank[state.Status] {
			state = other
		}
	}
	if t.everyTask() {
		state.ID = t.id
	}
	state.Owner = userName()
	return state
}

// printEdits prints the edits that were applied to the container's bundle, in order, including the
// launcher's own.
func printEdits(t *target, found []*runtime.Container) error {
	if t.everyTask() {
		return usageError{errors.New("--edits takes one task, not all of a step")}
	}
	edits, err := found[0].Edits()
	if err != nil {
		return err
	}
	return printJSON(edits)
}

func userName() string {
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}

// printJSON prints valid JSON whatever bytes paths contain: see bundle.Marshal.
func printJSON(v any) error {
	data, err := bundle.Marshal(v)
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, data, "", "  "); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	text.WriteByte('\n')
	_, err = os.Stdout.Write(text.Bytes())
	return err
}

// printLine prints JSON in one line, as runc prints lists.
func printLine(v any) error {
	data, err := bundle.Marshal(v)
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	_, err = os.Stdout.Write(append(data, '\n'))
	return err
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the caller's containers",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: "table", Usage: "`FORMAT`: table or json"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
		},
		Action: list(allStates),
	}
}

// list prints the containers that find returns.
func list(find func(*cli.Context) ([]entry.State, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return usageError{fmt.Errorf("list takes no argument, got %q", c.Args().First())}
		}
		states, err := find(c)
		if err != nil {
			return err
		}
		switch format := c.String("format"); {
		case c.Bool("quiet"):
			for _, s := range states {
				fmt.Println(s.ID)
			}
			return nil
		case format == "json":
			return printLine(states)
		case format == "table":
			return printTable(states)
		default:
			return usageError{fmt.Errorf("--format %q: choose table or json", format)}
		}
	}
}

func allStates(c *cli.Context) ([]entry.State, error) {
	t := &target{values: slurm.FromEnv(os.Environ()).Values()}
	if err := t.becomeOwner(c); err != nil {
		return nil, err
	}
	states := []entry.State{}
	stores, err := runtime.OpenStores(t.roots...)
	if errors.Is(err, entry.ErrNotFound) {
		return states, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range stores {
		all, err := s.All()
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

func printTable(states []entry.State) error {
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range states {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}
