package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

func runImageCommand(inv *invocation) *cli.Command {
	return &cli.Command{
		Name:      "run-image",
		Usage:     "run a command in an image, which is pulled where it is missing",
		ArgsUsage: "IMAGE|ENVIRONMENT [--] [COMMAND [ARGUMENT]...]",
		Description: "IMAGE is a name such as docker://ubuntu:24.04 or ghcr.io/alice/app:1, or the path of an OCI layout,\n" +
			"an archive or a bundle. ENVIRONMENT is the name or path of an environment file (see `ocishim env --help`). As `srun ocishim run-image IMAGE COMMAND` it needs no oci.conf: the process that srun\n" +
			"starts becomes the command. Without a COMMAND it is what the image says (ENTRYPOINT and CMD).",
		Flags: append(wishFlags(), profileFlag(), cwdFlag(), deviceFlag(),
			&cli.StringFlag{Name: "slurm-env", Usage: "use the environment in `FILE` and not the caller's: %e of an oci.conf with CreateEnvFile=null"}),
		Action: func(c *cli.Context) error {
			l, err := planImage(c)
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
			printAdvice(l.plan)
			inv.status, err = runtime.Run(l.store, l.bundle, l.options)
			return err
		},
	}
}

func pullFlag() cli.Flag {
	return &cli.StringFlag{Name: "pull", Usage: "pull the image `WHEN` missing, always (once per job) or never", DefaultText: "missing"}
}

// pullOf returns what --pull or the environment says.
func pullOf(c *cli.Context) request.Choice {
	if c.IsSet("pull") {
		return request.Choice{Value: c.String("pull"), By: "--pull"}
	}
	return request.Choice{Value: os.Getenv(request.PullVariable), By: request.PullVariable}
}

// planImage works out what run-image launches: a bundle that is nowhere but here.
func planImage(c *cli.Context) (*launchArgs, error) {
	return mountOrUnpack(func(tree bool) (*launchArgs, error) { return planNamed(c, tree) })
}

func planNamed(c *cli.Context, tree bool) (*launchArgs, error) {
	if !c.Args().Present() {
		return nil, usageError{errors.New("run-image takes an image, and a command to run in it")}
	}
	if path := c.String("slurm-env"); path != "" {
		if err := adoptEnvironment(path); err != nil {
			return nil, err
		}
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	asked, err := readNamed(c, cfg, dir)
	if err != nil {
		return nil, err
	}
	wish, err := request.Read(asked.annotations, os.Environ(), true)
	if err != nil {
		return nil, err
	}
	if err := readOptions(c, &wish); err != nil {
		return nil, err
	}
	given := c.Args().Tail()
	if len(given) > 0 && given[0] == "--" {
		given = given[1:]
	}
	l := &launchArgs{slurm: true, tree: tree}
	if asked.ref.Kind == image.KindBundle {
		return l, l.planBundle(c, asked, wish, given)
	}
	finder, err := newImageFinder(cfg, asked.pull, dir, os.Environ())
	if err != nil {
		return nil, err
	}
	finder.tree, finder.changed = tree, changes(cfg, wish)
	if l.image, err = finder.find(asked.image); err != nil {
		return nil, err
	}
	defer l.image.Close() //nolint:errcheck // only looked at
	command := l.image.Config.Command(given, wish.Entrypoint.Value == "true")
	if len(command) == 0 {
		return nil, usageError{fmt.Errorf("image %s has neither ENTRYPOINT nor CMD: say which command to run", asked.image.Value)}
	}
	l.bundle = bundleOfImage(l.image, command)
	l.bundle.Spec.Annotations = asked.annotations
	return l, l.planCommand(c)
}

// planBundle plans the launch of a bundle as an image.
func (l *launchArgs) planBundle(c *cli.Context, asked named, wish request.Request, command []string) (err error) {
	if wish.Entrypoint.Value == "true" {
		return usageError{fmt.Errorf("%s: %q is a bundle, which has no ENTRYPOINT", wish.Entrypoint.By, asked.ref.Path)}
	}
	if l.bundle, err = bundleForTask(asked.ref.Path, command, os.Environ()); err != nil {
		return err
	}
	for name, value := range asked.annotations {
		if l.bundle.Spec.Annotations == nil {
			l.bundle.Spec.Annotations = map[string]string{}
		}
		l.bundle.Spec.Annotations[name] = value
	}
	return l.planCommand(c)
}

// planCommand plans the launch of l.bundle in the step that the environment names.
func (l *launchArgs) planCommand(c *cli.Context) error {
	bindBatchScript(l.bundle.Spec, slurm.FromEnv(os.Environ()))
	l.env = slices.Clone(l.bundle.Spec.Process.Env)
	t, err := l.imageTarget(c)
	if err != nil {
		return err
	}
	l.bundle.ID = t.id
	l.options.Policies = runtime.ForCommand()
	if l.options.RootlessCgroups, err = rootlessCgroups(c.String("rootless")); err != nil {
		return err
	}
	cacheDir, err := l.openStore(t, true)
	if err != nil {
		return err
	}
	return l.makePlan(c, t, cacheDir)
}

// bundleOfImage is what a config.json would say that starts the command with the caller's
// environment.
func bundleOfImage(found *image.Image, command []string) *bundle.Bundle {
	spec := runtime.ExampleSpec(os.Geteuid() != 0)
	spec.Process.Terminal = false // the process has the caller's
	spec.Process.Args = command
	spec.Process.Env = variables(os.Environ())
	spec.Root.Path, spec.Root.Readonly = found.Path, true
	return &bundle.Bundle{Dir: filepath.Dir(found.Path), Rootfs: found.Path, Spec: spec}
}

// imageTarget makes an id up, and says in which step it is. Of one task there may be
// several containers, one after the other or at once.
func (l *launchArgs) imageTarget(c *cli.Context) (*target, error) {
	env := slurm.FromEnv(os.Environ())
	own := runtime.CommandPrefix + strconv.Itoa(os.Getpid())
	id, err := slurm.Expand("%n.%u.%j.%s.%t", env.Values())
	if err != nil || !env.InJob() {
		return readTargetAsOwner(c, own, env, l.bundle)
	}
	t, err := readTargetAsOwner(c, id, env, l.bundle)
	if err != nil {
		return nil, err
	}
	if t.isStep {
		l.options.SharedBy = strings.TrimSuffix(t.step.Prefix(), ".")
	}
	t.id = own + "." + id
	return t, nil
}
