// Command ocishim-image imports images into stores and maintains the stores. It does all work
// on images that needs a network, a decompressor or minutes. Launching an image that is
// already in a store needs it only for one that is a single file, to serve that.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// version and commit are set by the Makefile.
var (
	version = "0.1.0-dev"
	commit  = "unknown"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		// No core file, and no other process, gets credentials from the memory of this one.
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if err := newApp(caller()).RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "ocishim-image: error:", err)
		if h := hint(err); h != "" {
			fmt.Fprintln(os.Stderr, "ocishim-image: hint:", h)
		}
		stop()
		os.Exit(1)
	}
}

func newApp(u user) *cli.App {
	cli.VersionPrinter = func(*cli.Context) { fmt.Println("ocishim-image version", version, "commit", commit) }
	p := &program{user: u}
	app := &cli.App{
		Name:            "ocishim-image",
		Usage:           "import container images into stores, and maintain the stores",
		UsageText:       "ocishim-image [options] VERB [options] [IMAGE]",
		Version:         version,
		HideHelpCommand: true,
		// A comma may be part of a path.
		DisableSliceFlagSeparator: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "store", Usage: "use the store in `DIR`", Value: u.store(), DefaultText: "$XDG_DATA_HOME/ocishim/images"},
			&cli.StringFlag{Name: "local-store", Usage: "look first in the store in `DIR` on this host's own disk, to which stage copies images"},
			&cli.StringSliceFlag{Name: "site-store", Usage: "look in the read-only store in `DIR` first; may be repeated"},
			&cli.IntSliceFlag{Name: "site-owner", Usage: "trust site stores that the user `UID` owns, not only root's and your own; may be repeated"},
			&cli.StringSliceFlag{Name: "registry", Usage: "look in registry `NAME` for images whose name has no registry; may be repeated", DefaultText: "those of registries.conf, or docker.io"},
			&cli.BoolFlag{Name: "bare", Usage: "let a single word, such as ubuntu, name an image of a registry"},
			environmentsFlag(),
			&cli.StringFlag{Name: "prefer", Usage: "import images in `FORMAT` sqfs, tree or auto, without --format", Value: formatAuto},
			&cli.StringFlag{Name: "authfile", Usage: "read credentials from `FILE`, and from nothing else", DefaultText: "the files of Podman, Docker and enroot"},
		},
		Commands: []*cli.Command{
			p.pullCommand(), p.importCommand(), p.resolveCommand(), p.whichCommand(), p.exportCommand(),
			p.lsCommand(), p.inspectCommand(), p.rmCommand(), p.gcCommand(), p.verifyCommand(),
			p.loginCommand(), p.logoutCommand(), p.stubCommand(), p.stageCommand(), p.saveCommand(), p.receiveCommand(), serveCommand(),
		},
		ExitErrHandler: func(*cli.Context, error) {}, // main prints and exits
		OnUsageError:   usage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("unknown verb %q", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, command := range app.Commands {
		command.HideHelpCommand, command.OnUsageError = true, usage
	}
	return app
}

// usage marks a mistake in an option as a usageError.
func usage(_ *cli.Context, err error, _ bool) error { return usageError{err} }

// wants checks the number of a verb's arguments.
func wants(c *cli.Context, least, most int, what string) error {
	if c.NArg() < least || c.NArg() > most {
		return usageError{fmt.Errorf("%s wants %s", c.Command.Name, what)}
	}
	return nil
}
