// Without these settings Go's runtime keeps the files of the cgroup's CPU limit open for
// reading. In the first process of a created container they would be the container's own
// limit, and a process that exec adds could open them for writing.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command ocishim is an OCI container runtime for Slurm clusters, and a drop-in for runc and
// crun. This package holds argv, environment, logging, exit codes and printing, one file per
// group of verbs; the rules are elsewhere.
//
// The program executes itself, as /proc/self/exe, in these roles:
//
//   - the process that becomes the application of a launch in place, or a further process of
//     such a container: _OCISHIM_ENTER, read in C before Go starts (runtime/inplace, Become);
//   - what starts the server of an image that is mounted: _OCISHIM_SERVE, read in C before Go starts
//     (runtime/inplace, serve.c);
//   - the first process of a container that libcontainer makes, or a further one: `init`
//     (runtime, BecomeInit);
//   - in such a container, the last step for arguments that are not UTF-8: `ocishim-bytes`
//     (runtime, becomeOdd);
//   - the supervisor of a container that `create` made for Slurm: the same call again
//     (runtime, CreateSupervised);
//   - root's work on a user's state: the same call again, _OCISHIM_WATCHED (watch.go);
//   - as scrun, the anchor that stands for a container, and what srun starts in its place
//     (internal/scrun, AnchorVerb and LauncherVerb);
//   - as deed.Program, to do for doctor what a user does.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/doctor/deed"
	"github.com/ocishim/ocishim/internal/threads"
	"github.com/ocishim/ocishim/runtime"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// version and commit are set by the Makefile.
var (
	version = "0.1.0-dev"
	commit  = "unknown"
)

// searchPath is where we look for the host's own programs (newuidmap) if the caller gives no PATH:
// Slurm starts a runtime with an empty environment.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func init() {
	threads.StayOnMain()
	inplace.FinishBecoming(runtime.SetSeccomp)
	runtime.BecomeInit()
}

func main() {
	becomeScrun(os.Args)
	if os.Getenv("PATH") == "" {
		_ = os.Setenv("PATH", searchPath) // it fails only for invalid names
	}
	if os.Args[0] == deed.Program {
		os.Exit(doDeed(os.Args[1:]))
	}
	os.Exit(run(os.Args))
}

// run runs the command line and returns the exit status.
func run(args []string) int {
	inv := new(invocation)
	app := newApp(inv)
	if calledAsScrun(app, args) {
		makeScrun(app, inv)
		if inv.scrun = "scrun"; filepath.Base(args[0]) != inv.scrun {
			inv.scrun = "ocishim --slurm"
		}
	}
	keepNames(app)
	args = optionalValue(app, args, "rootless")
	if at := verbIndex(app, args); at > 0 {
		inv.verb = args[at]
		if command := app.Command(inv.verb); command != nil {
			command.Flags = withNames(command.Flags)
		}
	}
	switch inv.verb { // other calls need not pay for the text
	case "config":
		app.Command(inv.verb).Description = describeConfig()
	case "doctor":
		app.Command(inv.verb).Description += describeChecks()
	}
	if err := app.Run(permute(app, args)); err != nil {
		return inv.fail(err)
	}
	return inv.status
}

// An invocation is one call of the program.
type invocation struct {
	verb   string
	status int    // of the application, for run
	scrun  string // the command that carries out scrun's verbs; empty for ocishim's own
}

func newApp(inv *invocation) *cli.App {
	cli.VersionPrinter = func(*cli.Context) { printVersion() }
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"}
	app := &cli.App{
		Name:                      "ocishim",
		Usage:                     "run OCI containers for Slurm, Docker, containerd and Podman",
		UsageText:                 "ocishim [global options] VERB [options] [ID]",
		Version:                   version,
		Description:               description,
		Flags:                     globalFlags(),
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a comma may be part of a value
		Before:                    setUp,
		Commands: []*cli.Command{
			createCommand(inv), startCommand(), stateCommand(), killCommand(), deleteCommand(),
			runCommand(inv), runImageCommand(inv), imageCommand(), execCommand(inv), psCommand(), pauseCommand(), resumeCommand(), updateCommand(), eventsCommand(),
			checkpointCommand(), restoreCommand(inv),
			explainCommand(), listCommand(), specCommand(), featuresCommand(), configCommand(), envCommand(), mpiCommand(), doctorCommand(), completeCommand(),
		},
		Action:         noVerb,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler: func(*cli.Context, error) {}, // run prints and exits
		ErrWriter:      os.Stderr,
	}
	for _, command := range app.Commands {
		command.HideHelpCommand = true // otherwise no container could have the id "help"
		command.OnUsageError = app.OnUsageError
	}
	return app
}

const description = `Slurm calls ocishim for each task of a step that asked for --container, by the
RunTime* lines of oci.conf; oci.conf.d has ready-made files. Docker, containerd
and Podman call it as they call runc.

Options may come before and after the ID. Patterns of oci.conf (%n %u %U %j %s
%t %b %r %Z %%) in the ID and in paths are replaced from SLURM_* variables.

Exit status of run, restore and exec: the application's; 128+n if signal n
killed it; 125 if ocishim failed, 126 if the command cannot be executed, 127 if
it is not found. All other verbs exit with 0, or 1 on failure.`

func noVerb(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("unknown verb %q", c.Args().First())}
	}
	return cli.ShowAppHelp(c)
}
