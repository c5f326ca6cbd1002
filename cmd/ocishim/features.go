package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/runtime"
)

func featuresCommand() *cli.Command {
	return &cli.Command{
		Name:  "features",
		Usage: "print what this build supports, as JSON (features.md)",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("features takes no argument, got %q", c.Args().First())}
			}
			return printJSON(runtime.Features(version))
		},
	}
}
