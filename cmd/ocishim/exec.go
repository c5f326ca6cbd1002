package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/runtime"
)

func execCommand(inv *invocation) *cli.Command {
	return &cli.Command{
		Name:        "exec",
		Usage:       "run a further process in a container",
		ArgsUsage:   "ID COMMAND [ARGUMENT]...",
		Description: "The process is like the container's own with another command, or as --process says. Options\ncome before the ID: what follows it is the command.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "`FILE` with the process as JSON (config.md, process), instead of COMMAND"},
			&cli.StringFlag{Name: "cwd", Usage: "working `DIR`"},
			&cli.GenericFlag{Name: "env", Aliases: []string{"e"}, Value: new(entries), Usage: "set a variable, `NAME=VALUE`; may be repeated"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "with a terminal"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`UID[:GID]`, numbers"},
			&cli.Int64SliceFlag{Name: "additional-gids", Aliases: []string{"g"}, Usage: "supplementary `GID`; may be repeated"},
			&cli.StringSliceFlag{Name: "cap", Aliases: []string{"c"}, Usage: "add a `CAPABILITY`; may be repeated"},
			&cli.BoolFlag{Name: "no-new-privs", Usage: "the process cannot gain privileges"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for its end"},
			&cli.StringFlag{Name: "apparmor", Usage: "AppArmor `PROFILE`"},
			&cli.StringFlag{Name: "process-label", Usage: "SELinux `LABEL`"},
			&cli.StringSliceFlag{Name: "cgroup", Usage: "run in the sub-cgroup `[CONTROLLER,...:]PATH`"},
			&cli.StringFlag{Name: "pidfd-socket", Usage: "unix socket at `PATH` that receives its pidfd"},
			&cli.StringFlag{Name: "pid-file", Usage: "write its pid to `FILE`"},
			&cli.StringFlag{Name: "console-socket", Usage: "unix socket at `PATH` that receives the terminal's master"},
			&cli.IntFlag{Name: "preserve-fds", Usage: "pass `N` more file descriptors, from 3 on"},
			&cli.BoolFlag{Name: "in-step", Usage: "in a step of the job to which the container's task belongs: add the step's SLURM_* variables, and, if the task was launched in place, use its ids, limits and rights"},
			&cli.BoolFlag{Name: "ignore-paused", Usage: "run also in a paused container"},
		},
		Action: func(c *cli.Context) error { return execIn(c, inv) },
	}
}

func execIn(c *cli.Context, inv *invocation) error {
	container, err := findStarted(c)
	if err != nil {
		return err
	}
	if container.InPlace && c.IsSet("no-new-privs") && !c.Bool("no-new-privs") {
		return fmt.Errorf("add process to container %q: --no-new-privs=false: all its processes are under no_new_privs: %w",
			container.ID, runtime.ErrInPlace)
	}
	process, err := readProcess(c, container.Process)
	if err != nil {
		return err
	}
	if c.Bool("in-step") {
		if process, err = asOfStep(process, container); err != nil {
			return err
		}
	}
	cgroups, err := subCgroups(c.StringSlice("cgroup"))
	if err != nil {
		return err
	}
	inv.status, err = container.Exec(process, runtime.ExecOptions{
		Detach:        c.Bool("detach"),
		PidFile:       c.String("pid-file"),
		PidfdSocket:   c.String("pidfd-socket"),
		Cgroups:       cgroups,
		ConsoleSocket: c.String("console-socket"),
		PreserveFDs:   c.Int("preserve-fds"),
		IgnorePaused:  c.Bool("ignore-paused"),
	})
	return err
}

// stepPatience is how long exec waits for the state of a Slurm task: Slurm may report a task as
// running before its runtime has recorded anything.
const stepPatience = 5 * time.Second

// findStarted is findOneAsOwner, but waits for a Slurm task that has just started.
func findStarted(c *cli.Context) (*runtime.Container, error) {
	for deadline := time.Now().Add(stepPatience); ; time.Sleep(10 * time.Millisecond) {
		container, err := findOneAsOwner(c)
		if err == nil && container.Status() != entry.Creating || !c.Bool("in-step") || time.Now().After(deadline) {
			return container, err
		}
	}
}

// asOfStep adapts a process that an engine on another machine wants to run in a Slurm task: it gets
// the variables of its own step and, if it can only run as the task's user, the task's ids, limits
// and rights.
func asOfStep(p *specs.Process, container *runtime.Container) (*specs.Process, error) {
	if container.InPlace {
		own, err := container.Process()
		if err != nil {
			return nil, err
		}
		own.Args, own.Env, own.Cwd, own.Terminal = p.Args, p.Env, p.Cwd, p.Terminal
		p = own
	}
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, "SLURM_") || strings.HasPrefix(entry, "SLURMD_") {
			p.Env = append(p.Env, entry)
		}
	}
	return p, nil
}

// findOneAsOwner returns the container that the first argument names, whatever follows.
func findOneAsOwner(c *cli.Context) (*runtime.Container, error) {
	t, found, err := findAsOwner(c, c.Args().Len())
	if err != nil {
		return nil, err
	}
	if t.everyTask() {
		return nil, usageError{fmt.Errorf("%s takes one task, not all of a step", c.Command.Name)}
	}
	return found[0], nil
}

// readProcess returns the process to run: the one in --process, or the container's own, changed by
// the options.
func readProcess(c *cli.Context, own func() (*specs.Process, error)) (*specs.Process, error) {
	if path := c.String("process"); path != "" {
		return processFromFile(c, path)
	}
	p, err := own()
	if err != nil {
		return nil, err
	}
	p.Args = c.Args().Tail()
	p.Terminal = c.Bool("tty")
	p.ConsoleSize = nil
	if cwd := c.String("cwd"); cwd != "" {
		p.Cwd = cwd
	}
	for _, entry := range listOf(c, "env") {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			return nil, usageError{fmt.Errorf("--env %q: it must be NAME=VALUE", entry)}
		}
		p.Env = append(p.Env, entry)
	}
	if err := setUser(c, &p.User); err != nil {
		return nil, err
	}
	if profile := c.String("apparmor"); profile != "" {
		p.ApparmorProfile = profile
	}
	if label := c.String("process-label"); label != "" {
		p.SelinuxLabel = label
	}
	if c.IsSet("no-new-privs") {
		p.NoNewPrivileges = c.Bool("no-new-privs")
	}
	addCapabilities(p, c.StringSlice("cap"))
	return p, checkProcess(p)
}

func processFromFile(c *cli.Context, path string) (*specs.Process, error) {
	if c.Args().Len() > 1 {
		return nil, usageError{errors.New("exec takes a command or --process, not both")}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read process: %w", err)
	}
	p := new(specs.Process)
	if err := bundle.UnmarshalForeign(data, p); err != nil {
		return nil, fmt.Errorf("read process from %s: %w", path, err)
	}
	return p, checkProcess(p)
}

func checkProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return usageError{errors.New("exec needs a command")}
	case !strings.HasPrefix(p.Cwd, "/"):
		return usageError{fmt.Errorf("working directory %q: it must be absolute", p.Cwd)}
	}
	return nil
}

// setUser reads --user and --additional-gids. Both must be numbers: a name would have to be looked
// up in the container's files.
func setUser(c *cli.Context, u *specs.User) error {
	if user := c.String("user"); user != "" {
		uid, gid, hasGID := strings.Cut(user, ":")
		id, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			return usageError{fmt.Errorf("--user %q: %q is not a number", user, uid)}
		}
		u.UID = uint32(id)
		if hasGID {
			if id, err = strconv.ParseUint(gid, 10, 32); err != nil {
				return usageError{fmt.Errorf("--user %q: %q is not a number", user, gid)}
			}
			u.GID = uint32(id)
		}
	}
	for _, gid := range c.Int64Slice("additional-gids") {
		if gid < 0 || gid > 1<<32-2 {
			return usageError{fmt.Errorf("--additional-gids %d: not a group id", gid)}
		}
		u.AdditionalGids = append(u.AdditionalGids, uint32(gid))
	}
	return nil
}

// subCgroups reads --cgroup: a path below the container's cgroup, with cgroup v1 one path for each
// list of controllers. It returns the paths by controller; the empty name means cgroup v2.
func subCgroups(options []string) (map[string]string, error) {
	paths := map[string]string{}
	for _, option := range options {
		controllers, path, named := strings.Cut(option, ":")
		if !named {
			controllers, path = "", option
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			_, twice := paths[controller]
			if named && controller == "" || twice || path == "" || !named && len(options) > 1 {
				return nil, usageError{fmt.Errorf("--cgroup %q: it must be [CONTROLLER,...:]PATH, each controller once", option)}
			}
			paths[controller] = path
		}
	}
	return paths, nil
}

// addCapabilities adds capabilities to the process, but not to its inheritable set, which would
// pass them to programs by their file capabilities (CVE-2022-29162).
func addCapabilities(p *specs.Process, names []string) {
	if len(names) == 0 {
		return
	}
	if p.Capabilities == nil {
		p.Capabilities = new(specs.LinuxCapabilities)
	}
	for _, set := range []*[]string{&p.Capabilities.Bounding, &p.Capabilities.Effective, &p.Capabilities.Permitted} {
		*set = append(slices.Clone(*set), names...)
	}
	// Where config.json makes the capability inheritable, a user other than root also gets it: only
	// an inheritable capability can be ambient (capabilities(7)).
	for _, name := range names {
		if slices.Contains(p.Capabilities.Inheritable, name) && !slices.Contains(p.Capabilities.Ambient, name) {
			p.Capabilities.Ambient = append(slices.Clone(p.Capabilities.Ambient), name)
		}
	}
}

func psCommand() *cli.Command {
	return &cli.Command{
		Name:      "ps",
		Usage:     "list the processes of a container",
		ArgsUsage: "ID [PS OPTION]...",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: "table", Usage: "`FORMAT`: table, by ps(1), or json, only the pids"},
		},
		Action: listProcesses,
	}
}

func listProcesses(c *cli.Context) error {
	container, err := findOneAsOwner(c)
	if err != nil {
		return err
	}
	pids, err := container.Pids()
	if err != nil {
		return err
	}
	switch format := c.String("format"); format {
	case "json":
		return printLine(pids)
	case "table":
		return printProcesses(pids, c.Args().Tail())
	default:
		return usageError{fmt.Errorf("--format %q: choose table or json", format)}
	}
}

// printProcesses prints the lines of ps(1) for the pids.
func printProcesses(pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.Command("ps", options...).Output()
	if err != nil {
		return fmt.Errorf("run ps %s: %w", strings.Join(options, " "), psError(err))
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return usageError{errors.New("ps prints no PID with these options")}
	}
	fmt.Println(lines[0])
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if column >= len(fields) {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Println(line)
		}
	}
	return nil
}

var errNoPs = errors.New("no ps")

// psError reduces an error of ps to its first line: the others explain how to use it.
func psError(err error) error {
	var failed *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: %w", errNoPs, err)
	case errors.As(err, &failed):
		for line := range strings.Lines(string(failed.Stderr)) {
			if line = strings.TrimSpace(line); line != "" {
				return fmt.Errorf("%w: %s", err, line)
			}
		}
	}
	return err
}

func pauseCommand() *cli.Command {
	return &cli.Command{
		Name: "pause", Usage: "stop every process of a container", ArgsUsage: "ID",
		Action: func(c *cli.Context) error { return freeze(c, (*runtime.Container).Pause) },
	}
}

func resumeCommand() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "let the processes of a paused container continue", ArgsUsage: "ID",
		Action: func(c *cli.Context) error { return freeze(c, (*runtime.Container).Resume) },
	}
}

func freeze(c *cli.Context, do func(*runtime.Container) error) error {
	if c.Args().Len() > 1 {
		return usageError{fmt.Errorf("%s takes one ID", c.Command.Name)}
	}
	container, err := findOneAsOwner(c)
	if err != nil {
		return err
	}
	return do(container)
}
