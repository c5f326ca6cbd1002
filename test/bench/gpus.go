package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// These numbers define what GPUs cost a Slurm task: the fake ones (hack/fake-gpus), and a driver of
// empty libraries.
const (
	gpuCount = 8
	driver   = "550.54.15"
)

// A gpuTask is a row of the table: the same task with a number of the host's GPUs, and a driver
// with a number of libraries.
type gpuTask struct {
	name            string
	gpus, libraries int
	cold            bool // nothing is cached about the driver yet
}

// NVIDIA's driver 550 has 12 libraries for compute and utility, the default, and 40 in total. The
// first row is like a host without GPUs: the configuration ignores them.
var gpuTasks = []gpuTask{
	{"a host without GPUs", 0, 0, false},
	{"no GPU of 8", 0, 1, false},
	{"8 of 8 GPUs, 20 libraries", 8, 20, false},
	{"2 of 8 GPUs, 20 libraries", 2, 20, false},
	{"8 of 8 GPUs, 100 libraries", 8, 100, false},
	{"2 of 8 GPUs, 100 libraries", 2, 100, false},
	{"8 of 8 GPUs, 100 libraries, not seen before", 8, 100, true},
}

// writeGPUs measures, and prints the table. The fake GPUs stay where everything is measured, so
// this is the last table.
func (p place) writeGPUs(w *bytes.Buffer, repo string, samples int) error {
	if err := p.makeGPUs(repo); err != nil {
		return fmt.Errorf("make fake GPUs: %w", err)
	}
	r := &results{samples: map[string][]sample{}}
	for round := range samples + 1 {
		for i := range gpuTasks {
			task := gpuTasks[(round+i)%len(gpuTasks)]
			taken, err := p.takeGPUs(task)
			if err != nil {
				return fmt.Errorf("%s: %w", task.name, err)
			}
			if round > 0 { // the first loads everything into memory
				r.samples[task.name] = append(r.samples[task.name], taken)
			}
		}
	}
	without := gpuTasks[0].name
	fmt.Fprintf(w, "### A Slurm task with GPUs: `run` in place\n\n")
	fmt.Fprintf(w, "Median (quartiles) of %d. Fake GPUs, in a /dev of some %d device nodes, and a driver with empty libraries. ocishim\nmakes links to each library, a new loader cache and, if some GPUs are not the task's, a /dev without them.\n\n", samples, otherNodes)
	fmt.Fprintf(w, "| | wall, ms | CPU, ms | more CPU than %s, ms |\n|---|---|---|---|\n", without)
	for _, task := range gpuTasks {
		fmt.Fprintf(w, "| %s | %v | %v | %v |\n", task.name, r.of(task.name, wall), r.of(task.name, cpu), r.difference(task.name, without, cpu))
	}
	fmt.Fprintln(w)
	return nil
}

// difference returns the spread of the differences to another row, round by round.
func (r *results) difference(name, to string, f figure) spread {
	var differences []float64
	for i, s := range r.samples[name] {
		differences = append(differences, f(s)-f(r.samples[to][i]))
	}
	return spreadOf(differences)
}

func (p place) takeGPUs(task gpuTask) (sample, error) {
	// Each driver has its own cache.
	state, bundle := filepath.Join(p.dir, "state", fmt.Sprint("gpus", task.libraries)), filepath.Join(p.dir, "user", fmt.Sprint("gpus", task.gpus))
	if task.cold {
		if err := os.RemoveAll(filepath.Join(state, ".ocishim-node")); err != nil {
			return sample{}, err
		}
	}
	program, id := filepath.Join(p.dir, "bin", "ocishim"), "n1."+p.user.name+".1.0.0"
	taken, err := p.take(scenario{user: true, copies: 1}, [][]string{{
		program, "--root", state, "--config", filepath.Join(p.driverRoot(task.libraries), "config.toml"), "run", "--bundle", bundle, id,
	}})
	if err != nil {
		return sample{}, err
	}
	// Slurm's cleanup is not part of the task.
	if out, err := p.command(true, program, "--root", state, "delete", id).CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("delete: %w: %s", err, out)
	}
	return taken, nil
}

func (p place) driverRoot(libraries int) string {
	return filepath.Join(p.dir, fmt.Sprint("driver", libraries))
}

// makeDriver makes the root of a driver, and a configuration that names it.
func (p place) makeDriver(libraries int) error {
	root := p.driverRoot(libraries)
	dir := filepath.Join(root, "usr", "lib64")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range libraries {
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
	config := fmt.Appendf(nil, "gpu.driver = %q\n", root)
	if libraries == 0 {
		config = []byte("gpu.vendors = []\n")
	}
	return os.WriteFile(filepath.Join(root, "config.toml"), config, 0o644)
}

// makeGPUs makes the host's GPUs, the drivers, and the bundles of the two tasks.
func (p place) makeGPUs(repo string) error {
	for _, task := range gpuTasks {
		if err := p.makeDriver(task.libraries); err != nil {
			return err
		}
	}
	rootfs := filepath.Join(p.dir, "user", "bundle", "rootfs")
	if out, err := exec.Command("/sbin/ldconfig", "-r", rootfs).CombinedOutput(); err != nil {
		return fmt.Errorf("ldconfig: %w: %s", err, out)
	}
	for gpus, list := range map[int]string{0: "", 2: "0,1", gpuCount: "0,1,2,3,4,5,6,7"} {
		env := []string{"SLURM_JOB_ID=1", "SLURM_PROCID=0"}
		if gpus > 0 {
			env = append(env, "SLURM_STEP_GPUS="+list, "CUDA_VISIBLE_DEVICES="+list)
		}
		if err := p.gpuBundle(fmt.Sprint("gpus", gpus), rootfs, env); err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(repo, "hack", "fake-gpus"), "--driver", driver, fmt.Sprint(gpuCount))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return fillDev()
}

// otherNodes is the number of other device nodes on a server: terminals, disks.
const otherNodes = 200

// fillDev makes them with the usual permissions: most are not for users.
func fillDev() error {
	for i := range otherNodes {
		name, mode := fmt.Sprintf("/dev/other%d", i), uint32(0o660)
		if i%10 == 0 {
			mode = 0o666
		}
		if err := errors.Join(unix.Mknod(name, unix.S_IFCHR, int(unix.Mkdev(1, 3))), unix.Chmod(name, mode)); err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
	}
	return nil
}

// gpuBundle makes the user's bundle as Slurm would have changed it.
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
