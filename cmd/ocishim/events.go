package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/runtime"
)

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name:      "events",
		Usage:     "print what resources a container uses, and when it runs out of memory",
		ArgsUsage: "ID",
		Description: "Each line is a JSON object like runc's: resource usage at every interval until the container\n" +
			"ends, and an event each time the kernel kills one of its processes for lack of memory.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stats", Usage: "print the current usage once, and end"},
			&cli.DurationFlag{Name: "interval", Value: 5 * time.Second, Usage: "`TIME` between reports, such as 500ms or 1m"},
		},
		Action: events,
	}
}

func events(c *cli.Context) error {
	if interval := c.Duration("interval"); interval <= 0 {
		return usageError{fmt.Errorf("--interval %v: it must be greater than 0", interval)}
	}
	if c.Args().Len() > 1 {
		return usageError{fmt.Errorf("%s takes one ID", c.Command.Name)}
	}
	container, err := findOneAsOwner(c)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	emit := func(e *runtime.Event) error { return out.Encode(e) }
	if !c.Bool("stats") {
		return container.Events(c.Duration("interval"), emit)
	}
	e, err := container.Stats()
	if err != nil {
		return err
	}
	return emit(e)
}
