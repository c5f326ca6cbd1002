//go:build integration

package integration

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// cdiSpec describes two of n2's GPUs, by name, as NVIDIA's tools do: it gives the library's
// directory to the loader, and its hooks need not be installed.
const cdiSpec = `cdiVersion: 0.6.0
kind: nvidia.com/gpu
containerEdits:
  env: [BY_CDI=yes]
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.` + fakeDriver + `
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.` + fakeDriver + `
    options: [ro, nosuid, nodev, bind]
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/x86_64-linux-gnu]
devices:
- name: mine
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia6
- name: other
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia2
`

// cdi: a task names one of its own GPUs, or one of another task.
func (g *gpuCluster) cdi(t *testing.T) {
	if err := os.MkdirAll(g.onHost("/etc/cdi"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(spec string) {
		if err := os.WriteFile(g.onHost("/etc/cdi/nvidia.yaml"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(cdiSpec)
	srun := func(device string) []string {
		return []string{
			"srun", "-w", "n2", "--gpus=2", "--export=ALL,OCISHIM_GPU_CDI_DEVICES=nvidia.com/gpu=" + device,
			"--container", bundle("alice", "ro"), "bash", "-c", "look; echo BY_CDI=$BY_CDI",
		}
	}
	out := g.said(t, srun("mine")...)
	l := looks(t, out)
	if len(l) != 1 || !strings.HasPrefix(l[0].driver, "libcuda.so.1: 550 from ") || !strings.Contains(out, "BY_CDI=yes") {
		t.Fatalf("got %s", out)
	}
	own, err := l[0].means(l[0].there)
	if !slices.Equal(l[0].there, []int{6}) {
		t.Errorf("there are %v", l[0].there)
	}
	if err != nil || !slices.Equal(own, []int{6}) {
		t.Errorf("its GPUs are %v (%v): %s", own, err, out)
	}
	for device, want := range map[string]string{
		"other":   "use CDI device nvidia.com/gpu=other of /etc/cdi/nvidia.yaml: ",
		"unknown": "use CDI device nvidia.com/gpu=unknown: not defined in /etc/cdi, /var/run/cdi",
	} {
		g.refuses(t, want, srun(device)...)
	}
	// After an update of the driver the specification names files that no longer exist.
	write(strings.ReplaceAll(cdiSpec, fakeDriver, "535.1"))
	g.refuses(t, "use CDI device nvidia.com/gpu=mine of /etc/cdi/nvidia.yaml: stale specification: there is no /usr/lib/x86_64-linux-gnu/libcuda.so.535.1", srun("mine")...)
	if g.driver != "none" {
		g.repaired(t, srun("mine"))
	}
}

// repaired: a site can make ocishim find again what an update of the driver removed.
func (g *gpuCluster) repaired(t *testing.T, srun []string) {
	t.Helper()
	const path = "/etc/ocishim/config.toml"
	before, err := os.ReadFile(g.onHost(path))
	if err == nil {
		err = os.WriteFile(g.onHost(path), append(slices.Clone(before), "gpu.cdi.repair = true\n"...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile(g.onHost(path), before, 0o644) }()
	ctx, cancel := pace.Context(t.Context(), 30*time.Second)
	defer cancel()
	out, err := g.command(ctx, "alice", srun...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v: %s", srun, err, out)
	}
	for _, want := range []string{"libcuda.so.535.1, which is gone; using ", "|libcuda.so.1: 550 from "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

// refuses expects a command of alice's to fail with that text.
func (g *gpuCluster) refuses(t *testing.T, want string, args ...string) {
	t.Helper()
	ctx, cancel := pace.Context(t.Context(), 30*time.Second)
	defer cancel()
	out, err := g.command(ctx, "alice", args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "LOOK") {
		t.Errorf("%v: %v: %s\nwant %s", args, err, out, want)
	}
}
