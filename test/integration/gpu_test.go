//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestGPUs lets real Slurm allocate fake GPUs (hack/fake-gpus: device nodes without a driver) to
// tasks. It compares what a task in a container sees with what the same task sees without: which
// GPUs it may use, and which of them the variables mean. With ConstrainDevices Slurm's cgroup
// denies the others.
func TestGPUs(t *testing.T) {
	prepare(t)
	besideOthers(t)
	for _, constrain := range []bool{true, false} {
		for _, col := range []column{
			{slurm: "24.11", mode: "run"},
			{slurm: "24.11", mode: "oci"},
			{slurm: "24.11", mode: "create"},
			{slurm: "22.05", mode: "run", short: true},
			{slurm: "26.05", mode: "run", short: !pace.All()},
			{slurm: "26.05", mode: "oci"},
			{slurm: "26.05", mode: "create"},
		} {
			if !selectedGPUs(constrain, col) {
				continue
			}
			t.Run(fmt.Sprintf("constrain=%v,%s,%s", constrain, col.slurm, col.mode), func(t *testing.T) {
				col.runtime = "ocishim"
				prepareColumn(t, col)
				g := newGPUCluster(t, col, constrain)
				for _, k := range gpuCases {
					if k.short || !col.short {
						t.Run(k.name, func(t *testing.T) { g.compare(t, k) })
					}
				}
				if col.short || col.mode == "create" {
					return
				}
				t.Run("interactive", g.interactive)
				if col.mode == "run" {
					t.Run("what else is in /dev", g.dev)
				}
				t.Run("explain", g.explain)
				t.Run("CDI", g.cdi)
				if !constrain && col.mode == "run" {
					t.Run("engines", g.engines)
				}
				if col.slurm == "24.11" && col.mode == "run" {
					g.image(t)
				}
			})
		}
	}
}

// A gpuCase is a way of asking for GPUs: an srun command line, or a batch script in which CONTAINER
// stands for the option, or for nothing.
type gpuCase struct {
	name, args, script string
	short              bool // a single task on one compute node: Slurm 22.05 allows no more in containers
}

// n1 has eight GPUs, from /dev/nvidia0 on; n2 and n3 also have eight, from /dev/nvidia2 and
// /dev/nvidia4 on. Three of n2's are in use.
var gpuCases = []gpuCase{
	{name: "some", args: "srun -w n2 --gpus=2", short: true},
	{name: "nodes", args: "srun -N3 --gpus-per-node=2"},
	{name: "one each", args: "srun -w n1 -n8 --gpus-per-task=1"},
	{name: "bound", args: "srun -w n1 -n4 --gpus=4 --gpu-bind=single:1"},
	{name: "bound by map", args: "srun -w n1 -n2 --gpus=4 --gpu-bind=map_gpu:2,1"},
	{name: "not bound", args: "srun -w n2 -n2 --gpus-per-task=1 --gpu-bind=none"},
	{name: "none", args: "srun -w n2", short: true},
	{name: "batch", args: "sbatch -w n2 --gpus=2 CONTAINER", script: "look", short: true},
	{name: "steps of a batch job", args: "sbatch -w n2 --gpus=2", script: "srun CONTAINER look; srun --gpus=1 CONTAINER look", short: true},
}

const fakeDriver = "550.54.15"

// gpuCluster is a cluster with fake GPUs, and a driver that is a library of ours.
type gpuCluster struct {
	*cluster
	container string // for srun --container
}

func newGPUCluster(t *testing.T, col column, constrain bool) *gpuCluster {
	t.Helper()
	c := newCluster(t, col, fmt.Sprintf("gpus-%v", constrain))
	c.gpus, c.constrain, c.driver = 8, constrain, fakeDriver
	if col.mode != "run" {
		// A fake driver in /proc would keep the containers from mounting their own /proc. So they
		// get devices, and a warning that there is no driver.
		c.driver = "none"
	}
	t.Cleanup(c.down)
	c.up(t)
	g := &gpuCluster{c, bundle("alice", "ro")}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		skip(t, "no gcc here")
	}
	for out, args := range map[string][]string{
		"/usr/lib/x86_64-linux-gnu/libcuda.so." + fakeDriver: {"driver.c", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE=550"},
		bundle("alice", "ro") + "/rootfs/usr/bin/opens":      {"opens.c", "-ldl"},
	} {
		args[0] = filepath.Join(repo, "gpu", "testdata", args[0])
		if said, err := exec.Command(gcc, append(args, "-o", c.onHost(out))...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, said)
		}
	}
	// Slurm counts files here: without NVML there are no PCI addresses.
	for path, text := range map[string]string{"/etc/ocishim/config.toml": "gpu.order = \"file\"\n", "/usr/bin/look": lookScript} {
		if err := os.MkdirAll(filepath.Dir(c.onHost(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.onHost(path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	look := lookScript
	if col.mode == "create" { // without streams
		look = strings.Replace(look, "\n", "\nexec >>/out/look\n", 1)
	}
	if err := os.WriteFile(c.onHost(bundle("alice", "ro")+"/rootfs/usr/bin/look"), []byte(look), 0o755); err != nil {
		t.Fatal(err)
	}
	holder := c.command(t.Context(), "alice", "srun", "-w", "n2", "--gpus=3", "sleep", "3600")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Wait() })
	if !pace.Until(10*time.Second, func() bool {
		out, _ := c.asRoot("squeue", "-h", "-t", "running", "-o", "%A")
		return out != ""
	}) {
		t.Fatal("the job that takes three GPUs does not start")
	}
	return g
}

// own returns the GPUs that the task has without a container: indices count the GPUs that Slurm's
// cgroup allows, or all of the host.
func (g *gpuCluster) own(l look) ([]int, error) {
	if !g.constrain {
		return l.means(l.there)
	}
	if len(l.cuda) == 0 {
		return l.usable, nil
	}
	return l.means(l.usable)
}

// compare runs the case without a container and in one.
func (g *gpuCluster) compare(t *testing.T, k gpuCase) {
	bare := looks(t, g.job(t, k, ""))
	in := looks(t, g.job(t, k, "--container="+g.container))
	if len(bare) == 0 || len(in) != len(bare) {
		t.Fatalf("%d tasks without a container, %d in one", len(bare), len(in))
	}
	var first []int
	for i := range bare {
		want, err := g.own(bare[i])
		if err != nil {
			t.Fatalf("without a container: %v: %+v", err, bare[i])
		}
		if i == 0 {
			first = want
		}
		if g.slurm == "22.05" {
			// The step's variables are the same as the script's, which comes first.
			bare[i].slurm = in[i].slurm
			if !g.constrain {
				want = first
			}
		}
		t.Logf("task %s: GPUs %v; without a container %+v, in one %+v", bare[i].task, want, bare[i], in[i])
		if in[i].task == " " {
			g.checkEarly(t, in[i], bare[i])
			continue
		}
		g.check(t, in[i], bare[i], want)
	}
}

// check compares what a task in a container sees with its own GPUs: its /dev has only those, and
// indices count those.
func (g *gpuCluster) check(t *testing.T, in, bare look, want []int) {
	t.Helper()
	got, err := in.means(in.there)
	if len(in.cuda) == 0 {
		got = in.there
	}
	if !slices.Equal(in.there, in.usable) {
		t.Errorf("task %s: of %v it may use %v", in.task, in.there, in.usable)
	}
	allowed := want
	if g.constrain {
		allowed = bare.usable
	}
	if !slices.Equal(in.there, allowed) {
		t.Errorf("task %s: there are %v, want %v", in.task, in.there, allowed)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("task %s: its GPUs are %v (%v), want %v", in.task, got, err, want)
	}
	if in.slurm != bare.slurm {
		t.Errorf("task %s: Slurm's variables say %q, without a container %q", in.task, in.slurm, bare.slurm)
	}
	given := g.driver != "none" && (bare.slurm != "" || len(want) > 0 && g.constrain)
	if has := strings.HasPrefix(in.driver, "libcuda.so.1: 550 from "); has != given {
		t.Errorf("task %s: the driver's library: %q", in.task, in.driver)
	}
}

// checkEarly checks what a task sees if Slurm, 22.05, says nothing about its GPUs: what its device
// cgroup allows or, without a restriction, what a task without a container sees, and no driver.
func (g *gpuCluster) checkEarly(t *testing.T, in, bare look) {
	t.Helper()
	allowed, driver := bare.there, false
	if g.constrain {
		allowed, driver = bare.usable, len(bare.usable) > 0
	}
	if !slices.Equal(in.there, allowed) || !slices.Equal(in.usable, allowed) || len(in.cuda) > 0 || in.slurm != "" {
		t.Errorf("there are %v, it may use %v, want %v; CUDA's list %v, Slurm's %q", in.there, in.usable, allowed, in.cuda, in.slurm)
	}
	if has := strings.HasPrefix(in.driver, "libcuda.so.1: 550 from "); has != driver {
		t.Errorf("the driver's library: %q", in.driver)
	}
}

// job runs the case with or without the option for the container, and returns the output.
func (g *gpuCluster) job(t *testing.T, k gpuCase, container string) (said string) {
	t.Helper()
	args := strings.Fields(strings.ReplaceAll(k.args, "CONTAINER", container))
	if container != "" && g.mode == "create" {
		const out = "/home/alice/out/look"
		_ = os.Remove(g.onHost(out))
		defer func() {
			data, err := os.ReadFile(g.onHost(out))
			if err != nil {
				t.Fatal(err)
			}
			said = string(data)
		}()
	}
	if k.script == "" {
		return g.said(t, append(append(args, strings.Fields(container)...), "look")...)
	}
	script := "#!/bin/bash\n" + strings.ReplaceAll(k.script, "CONTAINER", container) + "\n"
	if err := os.WriteFile(g.onHost("/home/alice/job"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	g.said(t, append(args, "--wait", "--output=/home/alice/out.txt", "--error=/home/alice/err.txt", "/home/alice/job")...)
	for path, text := range map[string]*string{"/home/alice/out.txt": &script, "/home/alice/err.txt": new(string)} {
		data, err := os.ReadFile(g.onHost(path))
		if err != nil {
			t.Fatal(err)
		}
		*text = string(data)
		if path == "/home/alice/err.txt" && g.quiet(*text) != "" {
			t.Errorf("the job says %q", *text)
		}
	}
	return script
}

// said returns the output of a command of alice's, which must succeed without errors.
func (g *gpuCluster) said(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := pace.Context(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := g.command(ctx, "alice", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || g.quiet(errs.String()) != "" {
		t.Fatalf("%v: %v\n%s%s", args, err, out.String(), errs.String())
	}
	return out.String()
}

// quiet removes lines from an error output that are not errors here.
func (g *gpuCluster) quiet(text string) string {
	text = queueing.ReplaceAllString(text, "")
	if g.driver == "none" {
		text = strings.ReplaceAll(text, "ocishim: warning: NVIDIA's kernel driver is not loaded on this host: the container gets only its device nodes\n", "")
	}
	return quiet(text)
}

// interactive: the shell of salloc runs in the container.
func (g *gpuCluster) interactive(t *testing.T) {
	all := map[string][]look{}
	for name, container := range map[string][]string{"bare": nil, "in": {"--container", bundle("alice", "ro")}} {
		ctx, cancel := pace.Context(t.Context(), 30*time.Second)
		defer cancel()
		s := newSession(ctx, g.cluster)
		out := s.judge(func(s *session) {
			term := s.atTerminal("alice", 24, 80, append([]string{"salloc", "-w", "n2", "--gpus=2"}, container...)...)
			if _, err := term.outer.WriteString("look; echo at $(tty) $(exec 3<>/dev/ptmx && echo and another); exit\n"); err != nil {
				s.failf("test error", "%v", err)
			}
			s.wait(term.task)
			if !regexp.MustCompile(`\nat /dev/(pts/\d+|console) and another\r`).MatchString(term.stdout.String()) {
				s.failf("terminal", "%s", term.stdout.String())
			}
			all[name] = looks(t, strings.ReplaceAll(term.stdout.String(), "\r\n", "\n"))
		})
		if out.bad || len(all[name]) != 1 {
			t.Fatalf("%s: %s %s: %v", name, out.cell, out.detail, all[name])
		}
	}
	bare, in := all["bare"][0], all["in"][0]
	want, err := g.own(bare)
	if err != nil || len(want) != 2 {
		t.Fatalf("without a container: %v, %v: %+v", want, err, bare)
	}
	t.Logf("GPUs %v; without a container %+v, in one %+v", want, bare, in)
	g.check(t, in, bare, want)
}

// dev: under hpc the container has everything in the host's /dev except GPUs of other tasks, and it
// works: terminals, shared memory that other tasks see, device nodes.
func (g *gpuCluster) dev(t *testing.T) {
	const list = "cd /dev; find . -mindepth 1 -path ./pts -prune -o -path ./shm -prune -o -printf '%y %p %l\\n' | LC_ALL=C sort"
	want := g.said(t, "srun", "-w", "n2", "bash", "-c", list)
	lines := strings.Split(want, "\n")
	for name, args := range map[string][]string{"[256]": {"--gpus=3"}, "": nil} {
		// The first two of n2 are nvidia2 and nvidia3; three belong to another job.
		t.Run("GPUs"+name, func(t *testing.T) {
			got := g.said(t, append(append([]string{"srun", "-w", "n2"}, args...), "--container", bundle("alice", "ro"), "bash", "-c", list)...)
			own := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
				return strings.Contains(line, " ./nvidia") && !strings.Contains(got, line)
			})
			// Terminals are made through a link, and the console is for root.
			for i, line := range own {
				if strings.HasPrefix(line, "c ./ptmx") {
					own[i] = "l ./ptmx pts/ptmx"
				}
			}
			slices.SortStableFunc(own[:len(own)-1], strings.Compare)
			if got != strings.Join(own, "\n") {
				t.Errorf("there is\n%swithout a container\n%s", got, want)
			}
			const gpus, shared = `c \./nvidia[0-9]+ `, `c \./nvidia(ctl|-modeset|-uvm|-uvm-tools) `
			for pattern, n := range map[string]int{gpus: len(args) * 3, shared: len(args) * 4} {
				if found := regexp.MustCompile(pattern).FindAllString(got, -1); len(found) != n {
					t.Errorf("%d of %s are there, want %d:\n%s", len(found), pattern, n, got)
				}
			}
		})
	}
	out := g.said(t, "srun", "-w", "n2", "--gpus=1", "--container", bundle("alice", "ro"), "bash", "-c",
		`echo x >/dev/null && head -c 4 /dev/zero | wc -c; exec 3<>/dev/ptmx && [ -c /dev/pts/0 ] && echo pty; echo of a task >/dev/shm/ocishim-test; touch /dev/x 2>/dev/null || echo sealed`)
	if out != "4\npty\nsealed\n" {
		t.Errorf("got %q", out)
	}
	if out := g.said(t, "srun", "-w", "n2", "cat", "/dev/shm/ocishim-test"); out != "of a task\n" {
		t.Errorf("without a container there is %q", out)
	}
	if out := g.said(t, "srun", "-w", "n2", "--gpus=1", "--export=ALL,OCISHIM_EXPLAIN=1", "--container", bundle("alice", "ro"), "true"); !strings.Contains(out, "\ngpu /dev: without ") ||
		!strings.Contains(out, "\n  directory  /dev\n") {
		t.Errorf("explain: %s", out)
	}
}
