package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/runtime"
)

func featuresCommand() *cli.Command {
	return &cli.Command{
		Name:  "features",
		Usage: "print what this build supports, as JSON (features.md)",
		Action: func(*cli.Context) error {
			return printJSON(runtime.Features(version))
		},
	}
}
