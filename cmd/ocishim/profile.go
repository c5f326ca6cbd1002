package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/slurm"
)

// applyPlan changes the bundle to what its launch here is to be. It tells whether
// that is by the hpc profile. nodeDir keeps what is found out about the node.
func applyPlan(c *cli.Context, b *bundle.Bundle, t *target, step bool, nodeDir string) (hpc bool, err error) {
	if hpc, err = applyProfile(c, b, t, step); err != nil || !step {
		return hpc, err
	}
	edits, warnings, err := plan.GPUs(b, "/")
	if err != nil {
		return hpc, err
	}
	for _, w := range warnings {
		fmt.Fprintf(os.Stderr, "ocishim: warning: %s\n", w)
	}
	if err := b.Apply(edits...); err != nil || !hpc {
		return hpc, err
	}
	return hpc, applyMPI(c, b, nodeDir)
}

// applyMPI has the task run on the site's MPI.
func applyMPI(c *cli.Context, b *bundle.Bundle, nodeDir string) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	result, err := plan.MPI(b, cfg, "/", nodeDir)
	if err != nil {
		return err
	}
	for _, w := range result.Warnings {
		fmt.Fprintf(os.Stderr, "ocishim: warning: %s\n", w)
	}
	if result.Hint != "" {
		fmt.Fprintf(os.Stderr, "ocishim: hint: %s\n", result.Hint)
	}
	return b.Apply(result.Edits...)
}

// applyProfile changes the bundle to what the site, the bundle and the command
// line have chosen. It tells whether that is the hpc profile.
func applyProfile(c *cli.Context, b *bundle.Bundle, t *target, step bool) (hpc bool, err error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return false, err
	}
	// create has no process of its own that could become the application; and root
	// needs no place to have its own uid in.
	step = step && c.Command.Name == "run" && os.Geteuid() != 0
	choice, err := profile.Choose(cfg, c.String("profile"), b.Spec.Annotations, step)
	if err != nil || choice.Name == config.ProfileOCI {
		return false, err
	}
	if os.Geteuid() == 0 {
		return false, usageError{fmt.Errorf("%s hpc: it is for users, not for root", choice.By)}
	}
	cwd, err := slurm.Expand(c.String("cwd"), t.values)
	if err != nil {
		return false, err
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
	})
	if err != nil {
		return false, err
	}
	return true, b.Apply(edits...)
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
	home := ""
	for _, entry := range b.Spec.Process.Env {
		if value, found := strings.CutPrefix(entry, "HOME="); found {
			home = value
		}
	}
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
	f, err := pathrs.OpenatInRoot(root, path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.IsDir()
}
