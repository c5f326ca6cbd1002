package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// What GPUs cost a Slurm task: that many fake ones (hack/fake-gpus), with a driver
// of that many libraries that hold nothing.
const (
	gpuCount   = 8
	driverSize = 100
	driver     = "550.54.15"
)

// The rows of the table: the same task without GPUs, and with all of the node's.
const (
	withoutGPUs = "without GPUs"
	warmGPUs    = "with 8 GPUs"
	coldGPUs    = "with 8 GPUs, the driver not seen before"
)

// writeGPUs measures, and prints the table. The fake GPUs stay where all else is
// measured, so it is the last.
func (p place) writeGPUs(w *bytes.Buffer, repo string, samples int) error {
	if err := p.makeGPUs(repo); err != nil {
		return fmt.Errorf("make fake GPUs: %w", err)
	}
	r := &results{samples: map[string][]sample{}, names: []string{withoutGPUs, warmGPUs, coldGPUs}}
	for round := range samples + 1 {
		for i := range r.names {
			name := r.names[(round+i)%len(r.names)]
			taken, err := p.takeGPUs(name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round > 0 { // the first brings all into memory
				r.samples[name] = append(r.samples[name], taken)
			}
		}
	}
	fmt.Fprintf(w, "### A Slurm task with GPUs: `run` in place\n\n")
	fmt.Fprintf(w, "Median (quartiles) of %d. Fake GPUs, %d of them, and a driver of %d libraries that hold nothing; those and %s are bound.\n\n",
		samples, gpuCount, driverSize, "the loader's cache")
	fmt.Fprintf(w, "| | wall, ms | CPU, ms | more CPU than %s, ms |\n|---|---|---|---|\n", withoutGPUs)
	for _, name := range r.names {
		fmt.Fprintf(w, "| %s | %v | %v | %v |\n", name, r.of(name, wall), r.of(name, cpu), r.difference(name, withoutGPUs, cpu))
	}
	fmt.Fprintln(w)
	return nil
}

// difference is the spread of the differences to another row, round by round.
func (r *results) difference(name, to string, f figure) spread {
	var differences []float64
	for i, s := range r.samples[name] {
		differences = append(differences, f(s)-f(r.samples[to][i]))
	}
	return spreadOf(differences)
}

func (p place) takeGPUs(name string) (sample, error) {
	state, bundle := filepath.Join(p.dir, "state", "gpus"), filepath.Join(p.dir, "user", "gpus")
	if name == withoutGPUs {
		bundle = filepath.Join(p.dir, "user", "none")
	}
	if name == coldGPUs {
		if err := os.RemoveAll(filepath.Join(state, ".ocishim-node")); err != nil {
			return sample{}, err
		}
	}
	program, id := filepath.Join(p.dir, "bin", "ocishim"), "n1."+p.user.name+".1.0.0"
	taken, err := p.take(scenario{user: true, copies: 1}, [][]string{{
		program, "--root", state, "--config", filepath.Join(p.dir, "driver", "config.toml"), "run", "--bundle", bundle, id,
	}})
	if err != nil {
		return sample{}, err
	}
	// What Slurm's cleanup does is not the task's.
	if out, err := p.command(true, program, "--root", state, "delete", id).CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("delete: %w: %s", err, out)
	}
	return taken, nil
}

// makeGPUs makes the node's GPUs, the driver, and the bundles of the two tasks.
func (p place) makeGPUs(repo string) error {
	dir := filepath.Join(p.dir, "driver", "usr", "lib64")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range driverSize {
		library := map[int]string{0: "libcuda.so", 1: "libnvidia-ml.so"}[i]
		if library == "" {
			library = fmt.Sprintf("libnvidia-part%d.so", i)
		}
		out, err := exec.Command("gcc", "-shared", "-nostdlib", "-x", "c", "/dev/null", "-Wl,-soname,"+library+".1",
			"-o", filepath.Join(dir, library+"."+driver)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("gcc: %w: %s", err, out)
		}
	}
	config := fmt.Sprintf("gpu.driver = %q\n", filepath.Join(p.dir, "driver"))
	if err := os.WriteFile(filepath.Join(p.dir, "driver", "config.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	rootfs := filepath.Join(p.dir, "user", "bundle", "rootfs")
	if out, err := exec.Command("/sbin/ldconfig", "-r", rootfs).CombinedOutput(); err != nil {
		return fmt.Errorf("ldconfig: %w: %s", err, out)
	}
	for name, env := range map[string]string{
		"none": "SLURM_JOB_ID=1", "gpus": "SLURM_JOB_ID=1 SLURM_STEP_GPUS=0,1,2,3,4,5,6,7 CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7",
	} {
		if err := p.gpuBundle(name, rootfs, strings.Fields(env)); err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(repo, "hack", "fake-gpus"), "--driver", driver, fmt.Sprint(gpuCount))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// gpuBundle is the user's bundle as Slurm would have changed it.
func (p place) gpuBundle(name, rootfs string, env []string) error {
	var spec specs.Spec
	data, err := os.ReadFile(filepath.Join(p.dir, "user", "bundle", "config.json"))
	if err == nil {
		err = json.Unmarshal(data, &spec)
	}
	if err != nil {
		return err
	}
	spec.Process.Env = append(spec.Process.Env, env...)
	spec.Root.Path = rootfs
	data, err = json.Marshal(spec)
	dir := filepath.Join(p.dir, "user", name)
	return errors.Join(err, os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644))
}
