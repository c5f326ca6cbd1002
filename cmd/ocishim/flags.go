package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/slurm"
)

// globalFlags has the global flags of both runc and crun, so that ocishim can replace either by
// name alone.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Usage: "`DIR` for the state of containers (default: the first usable one of $XDG_RUNTIME_DIR/ocishim, /run/user/UID/ocishim, /run/ocishim/UID, /tmp/ocishim-UID)"},
		&cli.StringFlag{Name: "config", Usage: "read `PATH`, a file or a directory like /etc/ocishim, instead of the site's configuration"},
		&cli.StringFlag{Name: "log", Usage: "also append messages to `FILE`"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORMAT` of the log file: text or json"},
		&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of messages: debug, info, warning or error (default: errors, and the warnings that the OCI specification demands)"},
		&cli.BoolFlag{Name: "debug", Usage: "same as --log-level=debug"},
		&cli.StringFlag{Name: "rootless", Value: "auto", Usage: "run without a cgroup if none can be made: true, false or auto"},
		&cli.BoolFlag{Name: "systemd-cgroup", Usage: "let systemd make cgroups"},
		&cli.BoolFlag{Name: "slurm", Usage: "carry out the verbs through Slurm, as if called scrun: see --slurm --help"},
		&cli.StringFlag{Name: "cgroup-manager", Usage: "crun's name for --systemd-cgroup and --rootless: cgroupfs, systemd or disabled"},
	}
}

// globals returns the context of the global options: a verb may have an option of the same name.
func globals(c *cli.Context) *cli.Context {
	for _, outer := range c.Lineage() {
		if outer.App != nil {
			c = outer
		}
	}
	return c
}

// setUp runs before every verb.
func setUp(c *cli.Context) error {
	if err := callInWatchedChild(c); err != nil {
		return err
	}
	if err := setUpLog(c); err != nil {
		return err
	}
	return checkGlobals(c)
}

// checkGlobals refuses values of global options that no verb can use, even if this verb does not
// use the option: a caller who gives one expects an effect.
func checkGlobals(c *cli.Context) error {
	if _, err := rootlessCgroups(c.String("rootless")); err != nil {
		return err
	}
	if manager := c.String("cgroup-manager"); !slices.Contains([]string{"", "cgroupfs", "systemd", "disabled"}, manager) {
		return usageError{fmt.Errorf("--cgroup-manager %q: choose cgroupfs, systemd or disabled", manager)}
	}
	if !c.IsSet("config") || slices.Contains([]string{"state", "kill", "delete"}, c.Args().First()) {
		return nil // cleanup must not depend on a file of the site
	}
	path, err := configPath(c)
	if errors.Is(err, slurm.ErrNoValue) {
		return nil // a verb outside of the job may not need it
	}
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return nil
}

// launchFlags returns the flags of create and run, plus more.
func launchFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		bundleFlag(), profileFlag(), cwdFlag(), deviceFlag(),
		&cli.StringFlag{Name: "console-socket", Usage: "unix socket at `PATH` that receives the terminal's master"},
		&cli.StringFlag{Name: "pidfd-socket", Usage: "unix socket at `PATH` that receives a pidfd of the first process"},
		&cli.StringFlag{Name: "pid-file", Usage: "write the pid of the first process to `FILE`"},
		&cli.BoolFlag{Name: "no-pivot", Usage: "use chroot instead of pivot_root"},
		&cli.BoolFlag{Name: "no-new-keyring", Usage: "keep the session keyring"},
		&cli.IntFlag{Name: "preserve-fds", Usage: "pass `N` more file descriptors, from 3 on"},
		&cli.BoolFlag{Name: "no-subreaper", Usage: "accepted and ignored"},
	}, more...)
}

// A plan depends on bundleFlag, profileFlag, cwdFlag and deviceFlag.
func bundleFlag() cli.Flag {
	return &cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "`DIR` of the bundle"}
}

func profileFlag() cli.Flag {
	return &cli.StringFlag{Name: "profile", Usage: "what to share with the host, by `NAME`: hpc or oci (default: for a Slurm task by config.json and the site, otherwise oci)"}
}

func cwdFlag() cli.Flag {
	return &cli.StringFlag{Name: "cwd", Usage: "`DIR` in which the application starts under the hpc profile, if it exists there (default: the job's)"}
}

func deviceFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "device", Usage: "give the CDI device `NAME`, such as nvidia.com/gpu=0, or a device node, such as /dev/fuse; may be repeated"}
}

// commandVerbs are the verbs that take options of another program after the ID.
var commandVerbs = []string{"exec", "ps", "run-image"}

// permute moves the options of a verb before its arguments, where urfave/cli requires them: Slurm's
// documentation and the engines put them on both sides. An option is spelled by its first name,
// since urfave/cli accepts a flag under one name only. What follows "--" stays as it is, and so
// does a command with its options.
func permute(app *cli.App, args []string) []string {
	at := verbIndex(app, args)
	if at < 0 {
		return args
	}
	command := app.Command(args[at])
	if command == nil || command.SkipFlagParsing {
		return args
	}
	var options, arguments []string
	rest := args[at+1:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			arguments = append(arguments, rest...)
			break
		}
		if !isOption(arg) {
			arguments = append(arguments, arg)
			if slices.Contains(commandVerbs, command.Name) {
				arguments = append(arguments, rest...)
				break
			}
			continue
		}
		if arg == "-h" || arg == "--help" {
			return append(slices.Clone(args[:at+1]), arg) // an argument would change the help
		}
		options = append(options, firstName(command.Flags, arg))
		if !takesValue(command.Flags, arg) {
			continue
		}
		if len(rest) == 0 {
			return append(slices.Clone(args[:at+1]), options...) // urfave/cli reports the missing value
		}
		options = append(options, rest[0])
		rest = rest[1:]
	}
	permuted := append(slices.Clone(args[:at+1]), options...)
	return append(append(permuted, "--"), arguments...)
}

// optionalValue adds the value of a global option that crun makes optional: --rootless, --rootless
// true and --rootless=true are all in use.
func optionalValue(app *cli.App, args []string, name string) []string {
	out := slices.Clone(args)
	for i := 1; i < len(out) && isOption(out[i]); i++ {
		if strings.TrimLeft(out[i], "-") != name {
			if takesValue(app.Flags, out[i]) {
				i++
			}
			continue
		}
		out[i] = "--" + name + "=true"
		if i+1 < len(out) && slices.Contains([]string{"true", "false", "auto"}, out[i+1]) {
			out[i] = "--" + name + "=" + out[i+1]
			out = slices.Delete(out, i+1, i+2)
		}
	}
	return out
}

// verbIndex finds the verb: the first argument that is neither a global option nor the value of
// one.
func verbIndex(app *cli.App, args []string) int {
	for i := 1; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return -1
		case !isOption(args[i]):
			return i
		case takesValue(app.Flags, args[i]):
			i++
		}
	}
	return -1
}

func isOption(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// firstName spells the option by the first of its names.
func firstName(flags []cli.Flag, option string) string {
	name, value, hasValue := strings.Cut(strings.TrimLeft(option, "-"), "=")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			option = "--" + f.Names()[0]
			if hasValue {
				option += "=" + value
			}
		}
	}
	return option
}

// takesValue reports whether the option's value is the next argument.
func takesValue(flags []cli.Flag, option string) bool {
	name := strings.TrimLeft(option, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			valued, ok := f.(cli.DocGenerationFlag)
			return ok && valued.TakesValue()
		}
	}
	return false
}
