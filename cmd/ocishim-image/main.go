// Command ocishim-image imports images into stores, and looks after these: all about
// images that needs a network, a decompressor or minutes. A launch of an image that is in a
// store does without it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// version and commit are set by the Makefile.
var (
	version = "0.1.0-dev"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if err := newApp(defaultStore()).RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "ocishim-image: error:", err)
		stop()
		os.Exit(1)
	}
}

// defaultStore is the user's own; empty where there is no home.
func defaultStore() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ocishim", "images")
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "ocishim", "images")
	}
	return ""
}

func newApp(store string) *cli.App {
	cli.VersionPrinter = func(*cli.Context) { fmt.Println("ocishim-image version", version, "commit", commit) }
	app := &cli.App{
		Name:            "ocishim-image",
		Usage:           "import container images into stores, and look after these",
		UsageText:       "ocishim-image [--store DIR] VERB [options] [IMAGE]",
		Version:         version,
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "store", Usage: "the `DIR`ectory of the store", Value: store, DefaultText: "$XDG_DATA_HOME/ocishim/images"},
		},
		Commands:       []*cli.Command{pullCommand(), lsCommand(), inspectCommand(), rmCommand(), gcCommand(), verifyCommand()},
		ExitErrHandler: func(*cli.Context, error) {}, // main prints and exits
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("unknown verb %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, command := range app.Commands {
		command.HideHelpCommand = true
	}
	return app
}

// place is where the store of the command line is.
func place(c *cli.Context) (image.Place, error) {
	path := c.String("store")
	if path == "" {
		return image.Place{}, errors.New("which store: give --store, or set HOME")
	}
	path, err := filepath.Abs(path)
	return image.Place{Path: path, Owners: []int{os.Geteuid()}}, err
}

// change runs do on the store, which is made where there is none.
func change(c *cli.Context, do func(*storage.Store) error) error {
	p, err := place(c)
	if err != nil {
		return err
	}
	s, err := storage.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// look runs do on the store, which may be read-only; on none where there is none.
func look(c *cli.Context, do func(image.Stores) error) error {
	p, err := place(c)
	if err != nil {
		return err
	}
	stores, reasons := image.OpenStores(p)
	if len(reasons) > 0 {
		return errors.Join(reasons...)
	}
	return errors.Join(do(stores), stores.Close())
}

// warn prints what was passed over.
func warn(reasons []error) {
	for _, reason := range reasons {
		fmt.Fprintln(os.Stderr, "ocishim-image: warning:", reason)
	}
}

// digestOf returns what the argument means: a digest, or a name that the store knows.
func digestOf(c *cli.Context, s image.Stores) (image.Digest, error) {
	if c.NArg() != 1 {
		return "", fmt.Errorf("%s wants one image", c.Command.Name)
	}
	name := c.Args().First()
	if _, err := image.Digest(name).Hex(); err == nil {
		return image.Digest(name), nil
	}
	ref, reasons, err := s.Lookup(name)
	warn(reasons)
	return ref.Digest, err
}

// find opens the image that the argument means.
func find(c *cli.Context, s image.Stores) (*image.Image, error) {
	digest, err := digestOf(c, s)
	if err != nil {
		return nil, err
	}
	found, reasons, err := s.Find(digest)
	warn(reasons)
	return found, err
}
