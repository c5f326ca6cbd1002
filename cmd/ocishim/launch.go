package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/userns"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

func createCommand(inv *invocation) *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "create a container that waits for start",
		ArgsUsage: "ID",
		Description: "For a Slurm task (an ID of the form %n.%u.%j.%s.%t, in a Slurm job) the output goes\n" +
			"to a file, since Slurm gives create no output; `state` names the file as org.ocishim.output.",
		Flags: launchFlags(
			&cli.StringFlag{Name: "output", Usage: "`FILE` for the output of a Slurm task, patterns allowed (default: a file beside the state, until delete)"},
		),
		Action: func(c *cli.Context) error { return create(c, inv) },
	}
}

func runCommand(inv *invocation) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "create a container, start it, and wait for its end",
		ArgsUsage: "ID",
		Flags: launchFlags(
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "create and start, and do not wait"},
			&cli.BoolFlag{Name: "keep", Usage: "keep the state and the cgroup after the end, until delete"},
		),
		Action: func(c *cli.Context) error { return runContainer(c, inv) },
	}
}

func create(c *cli.Context, inv *invocation) error {
	l, err := readLaunch(c)
	if err != nil {
		return err
	}
	if _, _, err := explainInstead(c, l); err != nil {
		return err
	}
	if l.slurm && l.options.ConsoleSocket == "" {
		inv.status, err = runtime.CreateSupervised(l.store, l.bundle, l.options)
		return err
	}
	_, err = runtime.Create(l.store, l.bundle, l.options)
	return err
}

func runContainer(c *cli.Context, inv *invocation) error {
	l, err := readLaunch(c)
	if err != nil {
		return err
	}
	form, asked, err := explainInstead(c, l)
	if err != nil {
		return err
	}
	if asked {
		return l.explain(form)
	}
	if l.options.Restore != nil && c.Bool("detach") {
		_, err := runtime.Create(l.store, l.bundle, l.options)
		return err
	}
	if c.Bool("detach") {
		created, err := runtime.Create(l.store, l.bundle, l.options)
		if err != nil {
			return err
		}
		if err := created.Start(); err != nil {
			return errors.Join(err, created.Delete(true))
		}
		return nil
	}
	if l.options.ConsoleSocket != "" {
		return usageError{errors.New("--console-socket is for create and run --detach: run holds the terminal itself")}
	}
	inv.status, err = runtime.Run(l.store, l.bundle, l.options)
	return err
}

// launchArgs holds what create and run work on.
type launchArgs struct {
	store   *runtime.Store
	bundle  *bundle.Bundle
	options runtime.LaunchOptions
	slurm   bool // Slurm calls, for one of its tasks
	plan    plan.Result
	env     []string     // the container's environment, before any edit
	image   *image.Image // of a store, which provides the root file system; nil for a bundle's own
	tree    bool         // the image has to be a directory
}

func readLaunch(c *cli.Context) (*launchArgs, error) {
	if c.Args().Len() != 1 {
		return nil, usageError{fmt.Errorf("%s takes one argument, the container's ID, got %d", c.Command.Name, c.Args().Len())}
	}
	l, err := planLaunch(c, true)
	if err != nil {
		return nil, err
	}
	printAdvice(l.plan)
	return l, nil
}

// planLaunch plans the launch. A real launch needs a store; an explanation does not make one.
func planLaunch(c *cli.Context, launch bool) (*launchArgs, error) {
	return mountOrUnpack(func(tree bool) (*launchArgs, error) { return planBundle(c, launch, tree) })
}

// planBundle plans the launch of a bundle. With tree, an image that it names has to be a directory.
func planBundle(c *cli.Context, launch, tree bool) (*launchArgs, error) {
	env := slurm.FromEnv(os.Environ())
	b, err := loadBundle(c, env)
	if err != nil {
		return nil, err
	}
	id := c.Args().First()
	if !c.Args().Present() {
		id = unnamed(b, env)
	}
	l := &launchArgs{bundle: b, env: slices.Clone(b.Spec.Process.Env), tree: tree}
	env = slurm.FromEnv(os.Environ(), l.env)
	t, err := readTargetAsOwner(c, id, env, b)
	if err != nil {
		return nil, err
	}
	b.ID = t.id
	if l.options, err = launchOptions(c, t); err != nil {
		return nil, err
	}
	l.options.Policies = runtime.ForEngine(c.Bool("keep"))
	if l.slurm = t.isStep && t.step.Task != slurm.AllTasks && env.InJob(); l.slurm {
		l.options.Policies = runtime.ForSlurmTask(c.Bool("keep"))
	}
	nodeDir, err := l.openStore(t, launch)
	if err != nil {
		return nil, err
	}
	if l.slurm {
		l.options.SharedBy = strings.TrimSuffix(t.step.Prefix(), ".")
	}
	if err := l.makePlan(c, t, nodeDir); err != nil {
		return nil, err
	}
	if !l.slurm {
		l.options.NotifySocket, l.options.ListenFDs = os.Getenv("NOTIFY_SOCKET"), listenFDs()
	}
	if c.Command.Name == "restore" {
		l.options.Restore, err = criuOptions(c)
	}
	return l, err
}

// makePlan composes the launch.
func (l *launchArgs) makePlan(c *cli.Context, t *target, nodeDir string) error {
	r, err := readRequest(c, l.bundle, t, l.slurm, l.image != nil)
	if err != nil {
		return err
	}
	scene, err := readScene(c, l.bundle, t, l.slurm, nodeDir)
	if err != nil {
		return err
	}
	defer scene.Host.Close()
	if plan.Writable(scene.Config, r).Value == request.WritableDisk {
		scene.Scratch = usersPath(scene.Config.Image.Scratch, slices.Concat(os.Environ(), l.env))
	}
	l.tree = l.tree || !scene.CanBecome || scene.Root
	if l.image == nil && r.Image.Value != "" {
		if l.image, err = l.findImage(r, scene.Config, t); err != nil {
			return err
		}
		defer l.image.Close() //nolint:errcheck // only looked at
	}
	if err := l.mountImage(); err != nil {
		return err
	}
	scene.Stored = l.image
	if l.plan, err = plan.Make(l.bundle, r, scene); err != nil {
		return err
	}
	l.options.InPlace = l.plan.InPlace
	if err := l.mountFiles(); err != nil {
		return err
	}
	for _, line := range l.plan.Notes {
		logrus.Warnf("container %q: %s", l.bundle.ID, line)
	}
	return nil
}

// printAdvice prints a plan's warnings and hint for the user who runs the container.
func printAdvice(p plan.Result) {
	for _, w := range p.Warnings {
		fmt.Fprintf(os.Stderr, "ocishim: warning: %s\n", w)
	}
	if p.Hint != "" {
		fmt.Fprintf(os.Stderr, "ocishim: hint: %s\n", p.Hint)
	}
}

// loadBundle reads the bundle that --bundle names.
func loadBundle(c *cli.Context, env slurm.Environment) (*bundle.Bundle, error) {
	dir, err := slurm.Expand(c.String("bundle"), env.Values())
	if err != nil {
		return nil, fmt.Errorf("--bundle: %w", err)
	}
	if dir == "" {
		return nil, usageError{errors.New("--bundle is empty")}
	}
	b, err := bundle.Load(dir)
	if err != nil {
		return nil, err
	}
	return b, b.Validate()
}

// openStore opens the store, which a launch makes if it is missing. nodeDir is where findings about
// the host are kept; it is empty if there is no store.
func (l *launchArgs) openStore(t *target, launch bool) (nodeDir string, err error) {
	if launch {
		if l.store, err = t.makeStore(); err != nil {
			return "", err
		}
		return l.store.NodeDir(), nil
	}
	stores, err := runtime.OpenStores(t.roots...)
	if err != nil {
		return "", nil //nolint:nilerr // the plan is the same without
	}
	return stores[0].NodeDir(), nil
}

func launchOptions(c *cli.Context, t *target) (runtime.LaunchOptions, error) {
	o := runtime.LaunchOptions{
		NoPivot:      c.Bool("no-pivot"),
		NoNewKeyring: c.Bool("no-new-keyring"),
		PreserveFDs:  c.Int("preserve-fds"),
	}
	if o.PreserveFDs < 0 {
		return o, usageError{fmt.Errorf("--preserve-fds %d: it cannot be negative", o.PreserveFDs)}
	}
	for _, path := range []struct {
		flag string
		to   *string
	}{{"pid-file", &o.PidFile}, {"console-socket", &o.ConsoleSocket}, {"pidfd-socket", &o.PidfdSocket}, {"output", &o.Output}} {
		expanded, err := slurm.Expand(c.String(path.flag), t.values)
		if err != nil {
			return o, fmt.Errorf("--%s: %w", path.flag, err)
		}
		if expanded == "" {
			continue
		}
		if *path.to, err = filepath.Abs(expanded); err != nil {
			return o, fmt.Errorf("--%s: %w", path.flag, err)
		}
	}
	var err error
	if o.RootlessCgroups, err = rootlessCgroups(c.String("rootless")); err != nil {
		return o, err
	}
	switch c.String("cgroup-manager") { // setUp has checked the value
	case "systemd":
		o.SystemdCgroup = true
	case "disabled":
		o.RootlessCgroups = true
	default:
		o.SystemdCgroup = c.Bool("systemd-cgroup")
	}
	return o, nil
}

// listenFDs returns the number of descriptors that systemd passed to this process
// (sd_listen_fds(3)).
func listenFDs() int {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// rootlessCgroups reads --rootless as runc does: auto is true for everybody except root in the
// host's own user namespace.
func rootlessCgroups(value string) (bool, error) {
	if value == "auto" {
		return os.Geteuid() != 0 || userns.RunningInUserNS(), nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, usageError{fmt.Errorf("--rootless %q: choose true, false or auto", value)}
	}
	return b, nil
}
