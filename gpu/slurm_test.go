package gpu

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// On this host GPU i by PCI address has the minor (i+4)%8.
func TestSlurmUnconstrained(t *testing.T) {
	uuid := fakenode.UUID
	tests := map[string]struct {
		env        string
		gpus, cuda string
		file       bool
	}{
		"by index":             {env: "SLURM_STEP_GPUS=0,1 CUDA_VISIBLE_DEVICES=0,1", gpus: "4 5", cuda: "0,1"},
		"by index, renumbered": {env: "SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=2,5", gpus: "6 1", cuda: "0,1"},
		"order of the task":    {env: "SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=5,2", gpus: "6 1", cuda: "1,0"},
		"in file order":        {env: "SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=2,5", gpus: "2 5", cuda: "0,1", file: true},
		"one of a step's":      {env: "SLURM_STEP_GPUS=2 CUDA_VISIBLE_DEVICES=2", gpus: "6", cuda: "0"},
		"by UUID":              {env: "SLURM_STEP_GPUS=3 CUDA_VISIBLE_DEVICES=" + uuid(3), gpus: "7", cuda: uuid(3)},
		"by short UUID":        {env: "SLURM_STEP_GPUS=3 CUDA_VISIBLE_DEVICES=" + uuid(3)[:12], gpus: "7", cuda: uuid(3)[:12]},
		"no variable of CUDA":  {env: "SLURM_STEP_GPUS=7", gpus: "3", cuda: ""},
		"batch":                {env: "SLURM_JOB_GPUS=1 SLURM_STEP_ID=4294967291", gpus: "5"},
		"batch of old Slurm":   {env: "SLURM_JOB_GPUS=1", gpus: "5"},
		"shards":               {env: "SLURM_SHARDS_ON_NODE=1 CUDA_VISIBLE_DEVICES=6", gpus: "2", cuda: "0"},
		"MPS":                  {env: "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=50 CUDA_VISIBLE_DEVICES=6", gpus: "2", cuda: "0"},
		"all":                  {env: "SLURM_GPUS_ON_NODE=8", gpus: "4 5 6 7 0 1 2 3"},
		"a list that ends":     {env: "SLURM_STEP_GPUS=0,1 CUDA_VISIBLE_DEVICES=1,-1,0", gpus: "5", cuda: "0"},
		"of an empty list":     {env: "SLURM_STEP_GPUS=0,1 CUDA_VISIBLE_DEVICES=", gpus: "", cuda: ""},
	}
	n := eight(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := ask(t, n, strings.Fields(test.env)...)
			r.Site.FileOrder = test.file
			o := mustGive(t, r)
			wants(t, "GPUs", o.gpus(), test.gpus)
			wants(t, "CUDA_VISIBLE_DEVICES", o.env["CUDA_VISIBLE_DEVICES"], test.cuda)
			if len(o.Warnings) > 0 {
				t.Errorf("warnings %v", o.Warnings)
			}
		})
	}
}

// A task without GPUs from Slurm gets none, whatever its image or the batch script left
// in its environment.
func TestSlurmWithoutGPUs(t *testing.T) {
	n := eight(t)
	for _, env := range []string{
		"", "CUDA_VISIBLE_DEVICES=0,1", "NVIDIA_VISIBLE_DEVICES=all CUDA_VERSION=12.4.0", "ROCR_VISIBLE_DEVICES=0 AMD_VISIBLE_DEVICES=all",
		"SLURM_JOB_GPUS=0,1 SLURM_STEP_ID=0", "SLURM_GPUS_ON_NODE=0", "SLURM_STEP_GPUS=",
	} {
		if o := mustGive(t, ask(t, n, strings.Fields(env)...)); !o.nothing() {
			t.Errorf("%s: got %v %v", env, o.devices, o.Warnings)
		}
	}
}

// If the device cgroup denies some GPUs, the others are the task's, and Slurm's
// variables already count only those.
func TestSlurmConstrained(t *testing.T) {
	n := eight(t)
	for minor := range 8 {
		if minor != 1 && minor != 6 {
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=2,5", "CUDA_VISIBLE_DEVICES=0,1"))
	wants(t, "GPUs", o.gpus(), "6 1")
	if v, ok := o.env["CUDA_VISIBLE_DEVICES"]; ok {
		t.Errorf("CUDA_VISIBLE_DEVICES was changed to %s", v)
	}
	wants(t, "rule", o.rules["nvidia devices"], "2 of 8 GPUs allowed by the device cgroup")

	// A task of that step is bound to its second GPU: the driver also sees the first,
	// for CUDA IPC, and the list says which one is its own.
	o = mustGive(t, ask(t, n, "SLURM_STEP_GPUS=5", "CUDA_VISIBLE_DEVICES=1"))
	wants(t, "GPUs", o.gpus(), "6 1")

	r := ask(t, n, "SLURM_STEP_GPUS=5", "CUDA_VISIBLE_DEVICES=1")
	r.Site.Isolate = true
	o = mustGive(t, r)
	wants(t, "GPUs, isolated", o.gpus(), "1")
	wants(t, "CUDA_VISIBLE_DEVICES, isolated", o.env["CUDA_VISIBLE_DEVICES"], "0")
	r.Env[1] = "CUDA_VISIBLE_DEVICES=2"
	says(t, refused(t, r), "CUDA_VISIBLE_DEVICES names 2, which is not among the 2 GPUs here")
}

func TestNVIDIAVisibleDevicesNarrows(t *testing.T) {
	n := eight(t)
	for minor := range 8 {
		if minor < 4 || minor == 7 {
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	// GPUs 4, 5 and 6 are allowed: the first three by PCI address.
	uuid := fakenode.UUID
	tests := map[string]struct{ visible, cuda, gpus, cudaAfter string }{
		"all":        {"all", "0,1,2", "4 5 6", ""},
		"index":      {"1", "0,1,2", "5", "0"},
		"indices":    {"2,0", "0,1,2", "4 6", "0,1"},
		"bound task": {"1,2", "2", "5 6", "1"},
		"UUID":       {uuid(2), "0,1,2", "6", "0"},
		"bus":        {fakenode.Bus(0), "0,1,2", "4", "0"},
		"no more":    {"0,1,2", "0,1,2", "4 5 6", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0,1,2", "CUDA_VISIBLE_DEVICES="+test.cuda, "NVIDIA_VISIBLE_DEVICES="+test.visible))
			wants(t, "GPUs", o.gpus(), test.gpus)
			wants(t, "CUDA_VISIBLE_DEVICES", o.env["CUDA_VISIBLE_DEVICES"], test.cudaAfter)
		})
	}
	for _, beyond := range []string{"3", uuid(4), "0,7", "GPU-ffffffff", "x\x1b[31m"} {
		says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0,1,2", "NVIDIA_VISIBLE_DEVICES="+beyond)), "NVIDIA_VISIBLE_DEVICES names", "not among the 3 GPUs here")
	}
	for _, not := range []string{"void", ""} {
		if o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_VISIBLE_DEVICES="+not)); !o.nothing() {
			t.Errorf("%q: got %v %v", not, o.devices, o.Warnings)
		}
	}
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_VISIBLE_DEVICES=none"))
	if len(o.devices) > 0 || o.mounts[private+"/lib/libcuda.so."+version] == "" {
		t.Errorf("none: devices %v, mounts %v", o.devices, names(o.mounts))
	}
}

// The error names a denied control device or a missing group.
func TestNoPermission(t *testing.T) {
	n := eight(t)
	for minor := range 8 {
		n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EACCES, 44)
	}
	says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0")), "no permission for /dev/nvidia4: it is for group video (mode 0660), and the task is not a member")

	n = eight(t)
	n.Deny("/dev/nvidia3", unix.EACCES, 999)
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0"))
	wants(t, "GPUs", o.gpus(), "4")
	says(t, strings.Join(o.Warnings, "\n"), "/dev/nvidia3: it is for group 999")

	n.Deny("/dev/nvidiactl", unix.EPERM, 0)
	says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0")), "the device cgroup denies /dev/nvidiactl")
	n.Remove("/dev/nvidiactl")
	says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0")), "there is no /dev/nvidiactl on this host")
}

func TestEnginesAsk(t *testing.T) {
	n := eight(t)
	for env, gpus := range map[string]string{
		"":                             "",
		"NVIDIA_VISIBLE_DEVICES=all":   "4 5 6 7 0 1 2 3",
		"NVIDIA_VISIBLE_DEVICES=0,7":   "4 3",
		"NVIDIA_VISIBLE_DEVICES=void":  "",
		"CUDA_VERSION=9.0.176":         "4 5 6 7 0 1 2 3",
		"SLURM_STEP_GPUS=0":            "",
		"CUDA_VISIBLE_DEVICES=0":       "",
		"NVIDIA_VISIBLE_DEVICES= 1 , ": "5",
	} {
		r := ask(t, n, env)
		r.Slurm = false
		o := mustGive(t, r)
		wants(t, env, o.gpus(), gpus)
		if _, ok := o.env["CUDA_VISIBLE_DEVICES"]; ok {
			t.Errorf("%s: an engine's container has CUDA_VISIBLE_DEVICES set", env)
		}
	}
	r := ask(t, fakenode.New(t), "NVIDIA_VISIBLE_DEVICES=all")
	r.Slurm = false
	says(t, refused(t, r), "NVIDIA_VISIBLE_DEVICES asks for NVIDIA GPUs, but there is no /dev/nvidia0")
}

// On a host without a driver, device nodes made by hand are given as they are.
func TestNoDriver(t *testing.T) {
	n := fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 2})
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=1", "CUDA_VISIBLE_DEVICES=1"))
	wants(t, "GPUs", o.gpus(), "1")
	says(t, strings.Join(o.Warnings, "\n"), "NVIDIA's kernel driver is not loaded")
	if len(o.mounts) > 0 {
		t.Errorf("mounts %v", o.mounts)
	}

	o = mustGive(t, ask(t, fakenode.New(t), "SLURM_STEP_GPUS=0,1"))
	says(t, strings.Join(o.Warnings, "\n"), "Slurm gave this task GPUs (0,1), but this host has no device node of a GPU")
}

func TestVendorsOff(t *testing.T) {
	r := ask(t, eight(t), "SLURM_STEP_GPUS=0")
	r.Site.Vendors = []string{"amd"}
	if o := mustGive(t, r); len(o.Edits) > 0 {
		t.Errorf("got %v", o.devices)
	}
}
