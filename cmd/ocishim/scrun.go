package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scrun"
	"github.com/ocishim/ocishim/internal/stateroot"
	"github.com/ocishim/ocishim/runtime"
)

// becomeScrun runs this program as scrun's anchor or launcher, if it was started so, and exits;
// otherwise it returns.
func becomeScrun(args []string) {
	switch {
	case len(args) == 3 && args[1] == scrun.AnchorVerb:
		os.Exit(scrun.BecomeAnchor(args[2]))
	case len(args) == 2 && args[1] == scrun.LauncherVerb:
		os.Exit(scrun.BecomeLauncher())
	}
}

// calledAsScrun reports whether Slurm is to carry out the verbs: by the program's name, or by
// --slurm before the verb.
func calledAsScrun(app *cli.App, args []string) bool {
	if filepath.Base(args[0]) == "scrun" {
		return true
	}
	at := verbIndex(app, args)
	if at < 0 {
		at = len(args)
	}
	return slices.Contains(args[1:at], "--slurm")
}

// makeScrun changes the app to one whose verbs Slurm carries out.
func makeScrun(app *cli.App, inv *invocation) {
	app.Name, app.Usage = "scrun", "run OCI containers as Slurm jobs, for Docker and Podman"
	app.UsageText, app.Description = "scrun [global options] VERB [options] ID", scrunDescription
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"V"}, Usage: "print the version"}
	app.Flags = append(
		app.Flags,
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "same as --log-level=debug"},
		&cli.StringFlag{Name: "slurm-conf", Aliases: []string{"f"}, Usage: "`FILE` that Slurm's commands read instead of slurm.conf"},
	)
	app.Commands = []*cli.Command{
		scrunCreateCommand(), scrunRunCommand(inv),
		scrunVerb("start", "start a container that was created", func(_ *cli.Context, c *scrun.Container) error { return c.Start() }),
		scrunVerb("state", "print the state of a container as one JSON object", scrunState),
		scrunKillCommand(), scrunDeleteCommand(),
		scrunExecCommand(inv), scrunPsCommand(),
		scrunVerb("pause", "suspend a container's job, or stop the processes of its step", func(_ *cli.Context, c *scrun.Container) error { return c.Pause() }),
		scrunVerb("resume", "let a paused container continue", func(_ *cli.Context, c *scrun.Container) error { return c.Resume() }),
		scrunUpdateCommand(),
		scrunListCommand(), scrunFeaturesCommand(),
	}
	for _, command := range app.Commands {
		command.HideHelpCommand, command.OnUsageError = true, app.OnUsageError
	}
}

const scrunDescription = `Called as scrun, or with --slurm, ocishim carries out the verbs through Slurm:
the container's process runs in a job, on a compute node, under the oci.conf of
that compute node. What it asks of Slurm comes from SCRUN_* variables of the
caller and of the container, from annotations org.ocishim.slurm.OPTION, and from
scrun.options of the configuration. With SLURM_JOB_ID, that job is used.`

// scrunVerb returns a verb that takes the ID of a container and nothing else.
func scrunVerb(name, usage string, do func(*cli.Context, *scrun.Container) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			container, err := scrunContainer(c, 1)
			if err != nil {
				return err
			}
			return do(c, container)
		},
	}
}

func scrunCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "ask Slurm for a job, and create a container that waits for start", ArgsUsage: "ID",
		Flags: scrunLaunchFlags(),
		Action: func(c *cli.Context) error {
			store, b, options, err := readScrunLaunch(c)
			if err != nil {
				return err
			}
			return scrun.Create(store, b, options)
		},
	}
}

func scrunRunCommand(inv *invocation) *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "create a container, start it, and wait for its end", ArgsUsage: "ID",
		Flags: append(scrunLaunchFlags(), &cli.BoolFlag{Name: "keep", Usage: "keep the state after the end, until delete"}),
		Action: func(c *cli.Context) error {
			store, b, options, err := readScrunLaunch(c)
			if err != nil {
				return err
			}
			inv.status, err = scrun.Run(store, b, options, c.Bool("keep"))
			return err
		},
	}
}

// scrunLaunchFlags returns the flags of create and run.
func scrunLaunchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "`DIR` of the bundle"},
		&cli.StringFlag{Name: "console-socket", Usage: "unix socket at `PATH` that receives the terminal's master"},
		&cli.StringFlag{Name: "pid-file", Usage: "write the pid of the container's anchor to `FILE`"},
		&cli.BoolFlag{Name: "no-pivot", Usage: "accepted and ignored"},
		&cli.BoolFlag{Name: "no-new-keyring", Usage: "accepted and ignored"},
		&cli.IntFlag{Name: "preserve-fds", Usage: "accepted and ignored: descriptors cannot be passed to another host"},
	}
}

// readScrunLaunch reads what create and run work on.
func readScrunLaunch(c *cli.Context) (*scrun.Store, *bundle.Bundle, scrun.Options, error) {
	var options scrun.Options
	if c.Args().Len() != 1 {
		return nil, nil, options, usageError{fmt.Errorf("%s takes one argument, the container's ID, got %d", c.Command.Name, c.Args().Len())}
	}
	id := c.Args().First()
	if err := entry.CheckID(id); err != nil {
		return nil, nil, options, err
	}
	b, err := bundle.Load(c.String("bundle"))
	if err != nil {
		return nil, nil, options, err
	}
	if err := b.Validate(); err != nil {
		return nil, nil, options, err
	}
	if err := request.CheckAnnotations(b.Spec.Annotations); err != nil {
		return nil, nil, options, err
	}
	b.ID = id
	if options, err = scrunOptions(c); err != nil {
		return nil, nil, options, err
	}
	store, err := scrun.MakeStore(scrunRoots(c, options.Host)...)
	if err != nil {
		return nil, nil, options, err
	}
	store.Sweep()
	return store, b, options, nil
}

func scrunOptions(c *cli.Context) (scrun.Options, error) {
	o := scrun.Options{
		Env: os.Environ(), Log: scrun.Log{Format: c.String("log-format")},
		Progress: func(level, message string) {
			if l, err := logrus.ParseLevel(level); err == nil {
				logrus.StandardLogger().Log(l, message)
			}
		},
	}
	var err error
	if o.Host, err = scrunHost(c); err != nil {
		return o, err
	}
	for _, path := range []struct {
		flag string
		to   *string
	}{{"pid-file", &o.PidFile}, {"console-socket", &o.ConsoleSocket}, {"log", &o.Log.File}} {
		if value := c.String(path.flag); value != "" {
			if *path.to, err = filepath.Abs(value); err != nil {
				return o, fmt.Errorf("--%s: %w", path.flag, err)
			}
		}
	}
	o.Site, err = scrunSite(c)
	return o, err
}

// scrunSite returns what the site has decided.
func scrunSite(c *cli.Context) (scrun.Site, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return scrun.Site{}, err
	}
	s := cfg.Scrun
	for i, option := range s.Options {
		if err := scrun.CheckOption(option); err != nil {
			return scrun.Site{}, fmt.Errorf("scrun.options[%d] (%s): %w", i, cfg.Origin("scrun.options"), err)
		}
	}
	return scrun.Site{
		Options: s.Options, Staging: s.Staging, Bundles: s.Bundles, NodeDir: s.NodeDir,
		StageIn: s.StageIn, StageOut: s.StageOut, Enter: s.Enter, Shared: s.Shared,
	}, nil
}

// scrunHost describes who runs Slurm's commands.
func scrunHost(c *cli.Context) (scrun.Host, error) {
	h, err := scrun.NewHost(os.Environ())
	if err != nil {
		return h, err
	}
	if conf := c.String("slurm-conf"); conf != "" {
		if h.SlurmConf, err = filepath.Abs(conf); err != nil {
			return h, fmt.Errorf("-f: %w", err)
		}
	}
	if u, err := user.LookupId(strconv.Itoa(h.UID)); err == nil {
		h.User, h.Home = u.Username, u.HomeDir
	}
	return h, nil
}

// scrunRoots lists the directories that may hold the state, likeliest first.
func scrunRoots(c *cli.Context, h scrun.Host) []string {
	if root := globals(c).String("root"); root != "" {
		return []string{root}
	}
	var roots []string
	for _, root := range stateroot.ForUser(h.UID, runtimeDir()) {
		roots = append(roots, root+"-scrun")
	}
	return roots
}

// scrunContainer finds the container that the first of at most `most` arguments names.
func scrunContainer(c *cli.Context, most int) (*scrun.Container, error) {
	if n := c.Args().Len(); n == 0 || most > 0 && n > most {
		return nil, usageError{fmt.Errorf("%s takes %s, got %d arguments", c.Command.Name, c.Command.ArgsUsage, n)}
	}
	if err := entry.CheckID(c.Args().First()); err != nil {
		return nil, err
	}
	h, err := scrunHost(c)
	if err != nil {
		return nil, err
	}
	return scrun.Find(c.Args().First(), scrunRoots(c, h)...)
}

func scrunState(_ *cli.Context, c *scrun.Container) error {
	state := c.State()
	state.Owner = userName()
	return printJSON(state)
}

func scrunKillCommand() *cli.Command {
	return &cli.Command{
		Name: "kill", Usage: "send a signal to a container's process on its compute node", ArgsUsage: "ID [SIGNAL]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "a container that has ended is not an error"},
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Usage: "`SIGNAL` by name or number (default: TERM)"},
		},
		Action: func(c *cli.Context) error {
			name := "TERM"
			for _, given := range []string{c.String("signal"), c.Args().Get(1)} {
				if given != "" {
					name = given
				}
			}
			sig, err := runtime.ParseSignal(name)
			if err != nil {
				return err
			}
			container, err := scrunContainer(c, 2)
			if err != nil {
				return err
			}
			err = container.Kill(sig)
			if c.Bool("all") && errors.Is(err, entry.ErrNotRunning) {
				return nil
			}
			return err
		},
	}
}

func scrunDeleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "end a container's step and job, and remove it", ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill it first if it runs; an unknown ID is not an error"},
		},
		Action: func(c *cli.Context) error {
			container, err := scrunContainer(c, 1)
			if c.Bool("force") && errors.Is(err, entry.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			return container.Delete(c.Bool("force"))
		},
	}
}
