package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// advice is what a plan has to say to whoever runs the container.
type advice struct {
	warnings []string
	hint     string
}

func (a advice) print() {
	for _, w := range a.warnings {
		fmt.Fprintf(os.Stderr, "ocishim: warning: %s\n", w)
	}
	if a.hint != "" {
		fmt.Fprintf(os.Stderr, "ocishim: hint: %s\n", a.hint)
	}
}

// applyPlan changes the bundle to what its launch here is to be. It tells whether
// that is by the hpc profile. nodeDir keeps what is found out about the node.
func applyPlan(c *cli.Context, b *bundle.Bundle, t *target, step bool, nodeDir string) (hpc bool, a advice, err error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return false, a, err
	}
	if err := readChoices(cfg, b, step); err != nil {
		return false, a, err
	}
	if hpc, err = applyProfile(c, cfg, b, t, step); err != nil {
		return hpc, a, err
	}
	edits, warnings, err := plan.GPUs(b, plan.GPURequest{
		Config: cfg, Root: "/", Slurm: step, Devices: c.StringSlice("device"), Terminal: terminal(), CacheDir: nodeDir,
	})
	if err == nil {
		err = b.Apply(edits...)
	}
	a.warnings = warnings
	if err != nil || !step || !hpc {
		return hpc, a, err
	}
	return hpc, a, a.applyMPI(b, cfg, nodeDir)
}

// readChoices takes over what the bundle, and the job of a task, have chosen by
// annotations and variables.
func readChoices(cfg *config.Config, b *bundle.Bundle, step bool) error {
	if err := config.CheckAnnotations(b.Spec.Annotations); err != nil || !step {
		return err
	}
	for _, line := range config.UnknownVariables(b.Spec.Process.Env) {
		logrus.Warnf("container %q: %s", b.ID, line)
	}
	if err := cfg.Override(b.Spec.Annotations, b.Spec.Process.Env); err != nil {
		return err
	}
	return plan.CheckMPI(b)
}

// applyMPI has the task run on the site's MPI, and gives it what else the site has
// asked for.
func (a *advice) applyMPI(b *bundle.Bundle, cfg *config.Config, nodeDir string) error {
	edits, warnings, err := plan.Optional(b, cfg, "/", nodeDir)
	if err != nil {
		return err
	}
	a.warnings = append(a.warnings, warnings...)
	if err := b.Apply(edits...); err != nil {
		return err
	}
	result, err := plan.MPI(b, cfg, "/", nodeDir)
	if err != nil {
		return err
	}
	a.warnings = append(a.warnings, result.Warnings...)
	a.hint = result.Hint
	return b.Apply(result.Edits...)
}

// applyProfile changes the bundle to what the site, the bundle and the command
// line have chosen. It tells whether that is the hpc profile.
func applyProfile(c *cli.Context, cfg *config.Config, b *bundle.Bundle, t *target, step bool) (hpc bool, err error) {
	// create has no process of its own that could become the application; and root
	// needs no place to have its own uid in.
	var jobEnv []string
	if step {
		jobEnv = b.Spec.Process.Env
	}
	step = step && (c.Command.Name == "run" || c.Command.Name == "explain") && !runtime.BeganAsRoot()
	choice, err := profile.Choose(cfg, c.String("profile"), jobEnv, b.Spec.Annotations, step)
	if err != nil {
		return false, err
	}
	cwd, err := readCwd(c, t)
	if err != nil {
		return false, err
	}
	if choice.Name == config.ProfileOCI {
		if cwd != "" {
			logrus.Warnf("container %q: --cwd has no effect under the profile oci (%s): process.cwd counts", b.ID, choice.By)
		}
		return false, nil
	}
	if runtime.BeganAsRoot() {
		return false, usageError{fmt.Errorf("%s hpc: it is for users, not for root", choice.By)}
	}
	if cwd == "" {
		cwd = workdir(b, t)
	}
	edits, err := plan.Edits(b, profile.Request{
		Config: cfg, Choice: choice,
		UID: os.Geteuid(), GID: os.Getegid(),
		Home: homeOf(b), Workdir: cwd,
		Exists:  func(path string) bool { _, err := os.Stat(path); return err == nil },
		InImage: func(path string) bool { return isDirectoryIn(b.Rootfs, path) },

		OwnTerminal: b.Spec.Process.Terminal && terminal() == "",
	})
	if err != nil {
		return false, err
	}
	return true, b.Apply(edits...)
}

// readCwd reads --cwd.
func readCwd(c *cli.Context, t *target) (string, error) {
	cwd, err := slurm.Expand(c.String("cwd"), t.values)
	if err != nil {
		return "", fmt.Errorf("--cwd: %w", err)
	}
	if cwd != "" && !filepath.IsAbs(cwd) {
		return "", usageError{fmt.Errorf("--cwd %q: it must be absolute", cwd)}
	}
	return cwd, nil
}

// terminal is the path of the terminal on stdin; empty for none.
func terminal() string {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil || !strings.HasPrefix(name, "/dev/pts/") {
		return ""
	}
	return name
}

// workdir is the job's working directory: our own, unless Slurm has put us where
// the bundle is, else what it was when the job was submitted.
func workdir(b *bundle.Bundle, t *target) string {
	dir, err := os.Getwd()
	spool := t.isStep && dir == filepath.Dir(b.Dir)
	if err == nil && dir != "/" && dir != b.Dir && !spool {
		return dir
	}
	return t.values.Cwd
}

// homeOf is the home directory of the caller: as the job has it, who may not be in
// this node's /etc/passwd, else from there.
func homeOf(b *bundle.Bundle) string {
	home, _ := bundle.Getenv(b.Spec.Process.Env, "HOME")
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		home = u.HomeDir
	}
	return home
}

func isDirectoryIn(rootfs, path string) bool {
	root, err := os.Open(rootfs)
	if err != nil || !filepath.IsAbs(path) {
		return false
	}
	defer root.Close()
	fd, err := inplace.OpenIn(int(root.Fd()), path)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.IsDir()
}
