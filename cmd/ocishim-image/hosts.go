package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
	"github.com/ocishim/ocishim/internal/slurm"
)

// errHosts says that some hosts of a job do not have an image now.
var errHosts = errors.New("not every host of the job has the image")

// hosts are the hosts of the job that we are the batch script of, or a shell of salloc.
type hosts struct {
	program []string // this program with its options
	env     []string
	local   string // the store on each host
	nodes   int
}

// hosts returns the job's hosts, or nil if an image is to be copied to this host alone.
func (p *program) hosts(c *cli.Context, local string) (*hosts, error) {
	task := slurm.FromEnv(p.env)
	if !task.InJob() {
		return nil, nil
	}
	if step, err := strconv.ParseUint(task.Values().Step, 10, 32); err != nil || uint32(step) != slurm.BatchStep && uint32(step) != slurm.InteractiveStep {
		return nil, nil // a step, which has chosen its hosts
	}
	count := task["SLURM_JOB_NUM_NODES"]
	nodes, err := strconv.Atoi(count)
	if err != nil || nodes < 1 {
		return nil, fmt.Errorf("stage: SLURM_JOB_NUM_NODES=%q in a job: expected a number", count)
	}
	if nodes == 1 && task["SLURMD_NODENAME"] != "" {
		return nil, nil
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	own, err := place(c)
	if err != nil {
		return nil, err
	}
	program := []string{self, "--store", own.Path, "--local-store", local}
	for _, store := range c.StringSlice("site-store") {
		program = append(program, "--site-store", store)
	}
	for _, owner := range c.IntSlice("site-owner") {
		program = append(program, "--site-owner", strconv.Itoa(owner))
	}
	// The container of the job is not that of these steps.
	env := slices.DeleteFunc(slices.Clone(p.env), func(entry string) bool { return strings.HasPrefix(entry, "SLURM_CONTAINER") })
	return &hosts{program: program, env: env, local: local, nodes: nodes}, nil
}

// stage makes every host copy the image to its own disk: from a file that sbcast has copied there,
// or from a store that it sees.
func (h *hosts) stage(ctx context.Context, found *image.Image, o order) error {
	prepare := o
	prepare.Prepare = true
	have, err := h.run(ctx, prepare)
	if err != nil || have == h.nodes {
		return err
	}
	sayStaging(found.Record, h.nodes-have, h.local)
	if found.Format == image.Squashfs {
		if o.File, err = h.broadcast(ctx, found, o); err != nil {
			say(err.Error() + "; each host reads the image from the store")
		}
	}
	have, err = h.run(ctx, o)
	if err == nil && have < h.nodes {
		err = fmt.Errorf("%w: %d of %d have it", errHosts, have, h.nodes)
	}
	return err
}

// broadcast copies a squashfs to a new file on each host, and returns its name. If that is not
// possible it leaves none.
func (h *hosts) broadcast(ctx context.Context, found *image.Image, o order) (name string, err error) {
	o.File = storage.StagedName()
	cmd := exec.CommandContext(ctx, "sbcast", found.Path, filepath.Join(h.local, image.TmpDir, o.File))
	cmd.Env = h.env
	if out, err := cmd.CombinedOutput(); err != nil {
		o.Discard = true
		_, derr := h.run(context.WithoutCancel(ctx), o)
		return "", errors.Join(fmt.Errorf("sbcast: %w: %s", err, bytes.TrimSpace(out)), derr)
	}
	return o.File, nil
}

// run carries out an order on each host, and returns how many have the image then.
func (h *hosts) run(ctx context.Context, o order) (have int, err error) {
	stdin, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	n := strconv.Itoa(h.nodes)
	args := append([]string{
		"--nodes", n, "--ntasks", n, "--ntasks-per-node", "1", "--cpus-per-task", "1", "--overlap", "--gres", "none", "--mpi", "none",
		"--kill-on-bad-exit=0", "--wait", "0", "--chdir", "/", "--",
	}, append(h.program, "receive")...)
	cmd := exec.CommandContext(ctx, "srun", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = h.env, bytes.NewReader(stdin), &out, os.Stderr
	err = cmd.Run()
	have = len(strings.Fields(out.String()))
	if err != nil {
		err = fmt.Errorf("%w: %d of %d have it: srun: %w", errHosts, have, h.nodes, err)
	}
	return have, err
}
