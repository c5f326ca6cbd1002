package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/storage"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "import an image, and print its digest", ArgsUsage: "oci:DIR[:TAG|@DIGEST]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "auto", Usage: "sqfs, tree or auto: a tree on a local file system, else sqfs"},
			&cli.StringFlag{Name: "platform", Usage: "`OS/ARCH[/VARIANT]` of the image", Value: hostPlatform().String()},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("pull wants one image")
			}
			return change(c, func(s *storage.Store) error { return pull(c, s) })
		},
	}
}

func pull(c *cli.Context, s *storage.Store) error {
	format, err := formatFor(s, c.String("format"))
	if err != nil {
		return err
	}
	name := c.Args().First()
	src, err := fromLayout(name, c.String("platform"))
	if err != nil {
		return err
	}
	total := int64(0)
	for _, layer := range src.Layers {
		total += layer.Size
	}
	shown := newProgress(os.Stderr, name, total)
	found, err := s.Import(c.Context, src, storage.Options{
		Format: format, Limits: layers.DefaultLimits(), Job: os.Getenv("SLURM_JOB_ID"), Read: shown.read, Waiting: shown.waiting,
	})
	shown.end()
	if err != nil {
		return err
	}
	if err := s.SetRef(name, found.Digest); err != nil {
		return err
	}
	fmt.Println(found.Digest)
	return found.Close()
}

func formatFor(s *storage.Store, wish string) (image.Format, error) {
	switch wish {
	case string(image.Squashfs), string(image.Tree):
		return image.Format(wish), nil
	case "auto":
		format, _, err := s.Format()
		return format, err
	}
	return "", fmt.Errorf("--format %s: it is sqfs, tree or auto", wish)
}
