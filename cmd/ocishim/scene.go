package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

// readRequest collects what is asked for: by the bundle's annotations, by the job of a task, and by
// options, which override both. named says that the image was asked for by name, so that the
// environment is the job's alone.
func readRequest(c *cli.Context, b *bundle.Bundle, t *target, step, named bool) (request.Request, error) {
	var jobEnv []string
	if step {
		jobEnv = b.Spec.Process.Env
	}
	r, err := request.Read(b.Spec.Annotations, jobEnv, named)
	if err != nil {
		return r, err
	}
	if name := c.String("profile"); name != "" {
		r.Profile = request.Choice{Value: name, By: "--profile"}
	}
	if err := readOptions(c, &r); err != nil {
		return r, err
	}
	if err := r.Set("devices", c.StringSlice("device"), "--device"); err != nil {
		return r, usageError{err}
	}
	r.Workdir, err = readCwd(c, t)
	return r, err
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

// readScene collects the site's configuration and the properties of this host and the caller.
// cacheDir is where findings about the host are kept.
func readScene(c *cli.Context, b *bundle.Bundle, t *target, step bool, cacheDir string) (plan.Scene, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return plan.Scene{}, err
	}
	machine, err := host.Open("/", host.Kernel{})
	if err != nil {
		return plan.Scene{}, err
	}
	return plan.Scene{
		Scene:  scene.Scene{Host: machine, CacheDir: cacheDir},
		Config: cfg,
		Slurm:  step, Root: runtime.BeganAsRoot(),
		CanBecome: slices.Contains([]string{"run", "run-image", "explain"}, c.Command.Name),
		UID:       os.Geteuid(), GID: os.Getegid(),
		Workdir: workdir(b, t), Terminal: terminal(),
	}, nil
}

// terminal is the path of the terminal on stdin; empty for none.
func terminal() string {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil || !strings.HasPrefix(name, "/dev/pts/") {
		return ""
	}
	return name
}

// workdir returns the job's working directory: our own or, if Slurm has started us in the bundle,
// the one that the job was submitted with.
func workdir(b *bundle.Bundle, t *target) string {
	dir, err := os.Getwd()
	spool := t.isStep && dir == filepath.Dir(b.Dir)
	if err == nil && dir != "/" && dir != b.Dir && !spool {
		return dir
	}
	return t.values.Cwd
}
