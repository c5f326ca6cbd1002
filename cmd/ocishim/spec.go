package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime"
)

func specCommand() *cli.Command {
	return &cli.Command{
		Name:  "spec",
		Usage: "write a config.json to start from",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "`DIR` to write it to"},
			&cli.BoolFlag{Name: "rootless", Usage: "for the calling user, with a user namespace"},
		},
		Action: writeSpec,
	}
}

func writeSpec(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("spec takes no argument, got %q", c.Args().First())}
	}
	data, err := json.MarshalIndent(runtime.ExampleSpec(c.Bool("rootless")), "", "\t")
	if err != nil {
		return fmt.Errorf("write spec: %w", err)
	}
	dir, err := expandPath(c.String("bundle"))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, bundle.ConfigName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("write spec: %s exists; remove it first", path)
	}
	if err != nil {
		return fmt.Errorf("write spec: %w", err)
	}
	_, werr := f.Write(append(data, '\n'))
	if err := errors.Join(werr, f.Close()); err != nil {
		return fmt.Errorf("write spec: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}
