package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/explain"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "print what run would change in a bundle, and by which rule; start nothing",
		ArgsUsage: "[ID]",
		Description: "With the ID of a Slurm task, or without an ID in a step of a job, print what the task gets.\n" +
			"\"over X: V\" means that X's value V was replaced, \"X has it\" that X had set the same already.\n" +
			"In a job, " + request.ExplainVariable + "=1 (or json, diff, verify) makes srun --container print it.",
		Flags: []cli.Flag{
			bundleFlag(), profileFlag(), cwdFlag(), deviceFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print the edits and the changes as JSON"},
			&cli.BoolFlag{Name: "diff", Usage: "print config.json before and after"},
			&cli.BoolFlag{Name: "verify", Usage: "print whether the image's loader finds each injected library; fail if it does not"},
		},
		Action: func(c *cli.Context) error {
			forms := slices.DeleteFunc([]string{"json", "diff", "verify"}, func(form string) bool { return !c.Bool(form) })
			switch {
			case len(forms) > 1:
				return usageError{errors.New("choose one of --json, --diff and --verify")}
			case c.Args().Len() > 1:
				return usageError{fmt.Errorf("explain takes one ID at most, got %d arguments", c.Args().Len())}
			}
			l, err := planLaunch(c, false)
			if err != nil {
				return err
			}
			return l.explain(strings.Join(forms, ""))
		},
	}
}

// explainInstead returns the form in which a Slurm task is to be explained instead of started, by a
// variable of its container. asked is false if it is to be started.
func explainInstead(c *cli.Context, l *launchArgs) (form string, asked bool, err error) {
	if !l.slurm {
		return "", false, nil
	}
	form, _ = bundle.Getenv(l.bundle.Spec.Process.Env, request.ExplainVariable)
	switch form {
	case "", "0":
		return "", false, nil
	case "1":
		form = ""
	case "json", "diff", "verify":
	default:
		return "", false, usageError{fmt.Errorf("%s=%s: choose 1, json, diff or verify", request.ExplainVariable, form)}
	}
	if c.Command.Name != "run" && c.Command.Name != "run-image" {
		return "", false, usageError{fmt.Errorf("%s: %s cannot print the answer: oci.conf must use RunTimeRun", request.ExplainVariable, c.Command.Name)}
	}
	return form, true, nil
}

// An explanation is what explain --json prints.
type explanation struct {
	ID       string           `json:"id"`
	Bundle   string           `json:"bundle"`
	Launcher string           `json:"launcher"`
	Edits    []bundle.Edit    `json:"edits"`
	Changes  []explain.Change `json:"changes"`
	Warnings []string         `json:"warnings"`
	Hint     string           `json:"hint,omitempty"`
}

// before returns the bundle as it was written.
func (l *launchArgs) before() (*bundle.Bundle, error) {
	if l.image != nil && l.bundle.Dir == filepath.Dir(l.image.Path) {
		return bundleOfImage(l.image, l.bundle.Spec.Process.Args), nil
	}
	return bundle.LoadPlain(l.bundle.Dir)
}

// explain prints the plan.
func (l *launchArgs) explain(form string) error {
	before, err := l.before()
	if err != nil {
		return err
	}
	before.Spec.Process.Env = l.env
	launcher := "in place"
	if why := runtime.WhyNotInPlace(l.bundle, l.options); why != "" {
		launcher = "by libcontainer, since " + why
	}
	if err := runtime.Foresee(l.bundle, l.options); err != nil {
		l.plan.Warnings = append(l.plan.Warnings, "it cannot be launched: "+err.Error())
	}
	switch form {
	case "diff":
		text, err := explain.Diff(before.Spec, l.bundle.Spec)
		if err == nil {
			_, err = os.Stdout.Write(text)
		}
		return err
	case "verify":
		printAdvice(l.plan)
		return l.verify()
	}
	changes := explain.List(before.Spec, l.bundle.Applied)
	if form == "json" {
		return printJSON(explanation{
			l.bundle.ID, l.bundle.Dir, launcher, bundle.WithoutContent(l.bundle.Applied),
			append([]explain.Change{}, changes...), append([]string{}, l.plan.Warnings...), l.plan.Hint,
		})
	}
	fmt.Printf("# %s, launched %s\n", l.bundle.Dir, launcher)
	printAdvice(l.plan)
	return explain.Write(os.Stdout, changes)
}

// errNotFound says that explain --verify found a problem.
var errNotFound = errors.New("the image's loader does not find all injected libraries")

// verify prints where the image's loader finds each injected library.
func (l *launchArgs) verify() error {
	node, err := host.Open("/", nil)
	if err != nil {
		return err
	}
	defer node.Close()
	image, err := host.Open(l.bundle.RootDir(), nil)
	if err != nil {
		return err
	}
	defer image.Close()
	wrong := false
	for _, f := range explain.Verify(l.bundle, node, image, goruntime.GOARCH) {
		fmt.Println(f)
		wrong = wrong || !f.Right
	}
	if wrong {
		return errNotFound
	}
	return nil
}

// unnamed returns the ID of a bundle that is explained without one: in a step of a Slurm job the ID
// of the calling task, whose variables the bundle gets.
func unnamed(b *bundle.Bundle, env slurm.Environment) string {
	id, err := slurm.Expand("%n.%u.%j.%s.%t", env.Values())
	if err != nil {
		return "unnamed"
	}
	withJob(b.Spec, os.Environ())
	return id
}

// withJob puts the job's environment below the image's, as Slurm does for a task in a container
// (slurmd/slurmstepd/container.c).
func withJob(spec *specs.Spec, job []string) {
	has := map[string]bool{}
	for _, entry := range spec.Process.Env {
		name, _, _ := strings.Cut(entry, "=")
		has[name] = true
	}
	for _, entry := range job {
		if name, _, ok := strings.Cut(entry, "="); ok && name != "" && !has[name] {
			spec.Process.Env = append(spec.Process.Env, entry)
		}
	}
}
