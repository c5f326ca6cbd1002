package gpu

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// mi300 is a host with four GPUs, each split into the given number of partitions, and a
// server's VGA as card0.
func mi300(t *testing.T, partitions int) *fakenode.Node {
	n := fakenode.New(t)
	n.AMD(4, partitions)
	return n
}

func TestAMDUnderSlurm(t *testing.T) {
	tests := map[string]struct{ env, devices, rocr string }{
		"index":     {"SLURM_STEP_GPUS=2 ROCR_VISIBLE_DEVICES=2", "kfd dri/renderD130 dri/card3", "0"},
		"two":       {"SLURM_STEP_GPUS=0,3 ROCR_VISIBLE_DEVICES=3,0", "kfd dri/renderD128 dri/card1 dri/renderD131 dri/card4", "1,0"},
		"UUID":      {"SLURM_STEP_GPUS=1 ROCR_VISIBLE_DEVICES=GPU-abcd000000000001", "kfd dri/renderD129 dri/card2", "GPU-abcd000000000001"},
		"global":    {"SLURM_STEP_GPUS=1", "kfd dri/renderD129 dri/card2", ""},
		"no GPUs":   {"ROCR_VISIBLE_DEVICES=0", "", ""},
		"as asked":  {"SLURM_STEP_GPUS=1 AMD_VISIBLE_DEVICES=all", "kfd dri/renderD129 dri/card2", ""},
		"narrower":  {"SLURM_STEP_GPUS=1,2 ROCR_VISIBLE_DEVICES=1,2 AMD_VISIBLE_DEVICES=1", "kfd dri/renderD130 dri/card3", "0"},
		"nothing":   {"SLURM_STEP_GPUS=1 AMD_VISIBLE_DEVICES=void", "", ""},
		"and a VGA": {"SLURM_GPUS_ON_NODE=4", "kfd dri/renderD128 dri/card1 dri/renderD129 dri/card2 dri/renderD130 dri/card3 dri/renderD131 dri/card4", ""},
	}
	n := mi300(t, 1)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := mustGive(t, ask(t, n, strings.Fields(test.env)...))
			wants(t, "devices", strings.Join(o.devices, " "), test.devices)
			wants(t, "ROCR_VISIBLE_DEVICES", o.env["ROCR_VISIBLE_DEVICES"], test.rocr)
		})
	}
}

func TestAMDConstrained(t *testing.T) {
	n := mi300(t, 2)
	for i := range 8 {
		if i != 3 && i != 4 {
			n.Deny(fmt.Sprintf("/dev/dri/renderD%d", 128+i), unix.EPERM, 0)
			n.Deny(fmt.Sprintf("/dev/dri/card%d", 1+i), unix.EPERM, 0)
		}
	}
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=3,4", "ROCR_VISIBLE_DEVICES=0,1"))
	wants(t, "devices", strings.Join(o.devices, " "), "kfd dri/renderD131 dri/card4 dri/renderD132 dri/card5")
	if len(o.env) > 0 {
		t.Errorf("variables were changed: %v", o.env)
	}
	wants(t, "link", o.links["/dev/dri/by-path/pci-0001:02:01.0-render"], "../renderD131")
	if len(o.links) != 4 {
		t.Errorf("links %v", o.links)
	}
}

// HIP and OpenCL count the GPUs that ROCR leaves.
func TestAMDVariablesAgree(t *testing.T) {
	o := mustGive(t, ask(t, mi300(t, 1), "SLURM_STEP_GPUS=1,3", "ROCR_VISIBLE_DEVICES=1,3", "HIP_VISIBLE_DEVICES=1,3", "GPU_DEVICE_ORDINAL=1,3"))
	for _, name := range []string{"ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"} {
		wants(t, name, o.env[name], "0,1")
	}
}

func TestAMDGroup(t *testing.T) {
	n := mi300(t, 1)
	n.Deny("/dev/kfd", unix.EACCES, 109)
	says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0")), "no permission for /dev/kfd: it is for group render (mode 0660)")
	n = mi300(t, 1)
	for i := range 4 {
		n.Deny(fmt.Sprintf("/dev/dri/renderD%d", 128+i), unix.EACCES, 109)
	}
	says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0")), "no permission for /dev/dri/renderD128: it is for group render")
}

func TestAMDByEngines(t *testing.T) {
	n := mi300(t, 1)
	for asked, devices := range map[string]string{
		"":                     "",
		"none":                 "",
		"1":                    "kfd dri/renderD129 dri/card2",
		"0-1":                  "kfd dri/renderD128 dri/card1 dri/renderD129 dri/card2",
		"0xabcd000000000002":   "kfd dri/renderD130 dri/card3",
		"GPU-abcd000000000003": "kfd dri/renderD131 dri/card4",
	} {
		r := ask(t, n, "AMD_VISIBLE_DEVICES="+asked)
		r.Slurm = false
		wants(t, asked, strings.Join(mustGive(t, r).devices, " "), devices)
	}
	for asked, words := range map[string]string{"4": "names 4, which is not among the 4 GPUs", "3-1": "3-1 is not a range", "0-99999999": "is not a range"} {
		r := ask(t, n, "AMD_VISIBLE_DEVICES="+asked)
		r.Slurm = false
		says(t, refused(t, r), words)
	}
	r := ask(t, fakenode.New(t), "AMD_VISIBLE_DEVICES=all")
	r.Slurm = false
	says(t, refused(t, r), "but this host has none")
}

func TestIntel(t *testing.T) {
	n := fakenode.New(t)
	n.Intel(2)
	// In PCI order: the processor's own graphics, then renderD190, renderD189.
	for env, want := range map[string][2]string{
		"":                   {"", ""},
		"ZE_AFFINITY_MASK=0": {"", ""},
		"SLURM_STEP_GPUS=1,2 ZE_AFFINITY_MASK=1,2":  {"dri/renderD190 dri/card20 dri/renderD189 dri/card21", "0,1"},
		"SLURM_STEP_GPUS=2 ZE_AFFINITY_MASK=2":      {"dri/renderD189 dri/card21", "0"},
		"SLURM_GPUS_ON_NODE=3 ROCR_VISIBLE_DEVICES": {"dri/renderD180 dri/card10 dri/renderD190 dri/card20 dri/renderD189 dri/card21", ""},
	} {
		o := mustGive(t, ask(t, n, strings.Fields(env)...))
		wants(t, env, strings.Join(o.devices, " "), want[0])
		wants(t, env, o.env["ZE_AFFINITY_MASK"], want[1])
	}
}

// On a host with several vendors' GPUs each variable belongs to one vendor.
func TestMixed(t *testing.T) {
	n := fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 2, Driver: version, LibDir: "/usr/lib64", DRM: 40})
	n.AMD(1, 1)
	n.Intel(0)
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "CUDA_VISIBLE_DEVICES=0", "ROCR_VISIBLE_DEVICES=0", "ZE_AFFINITY_MASK=0"))
	wants(t, "devices", strings.Join(o.devices, " "), "nvidiactl nvidia-uvm nvidia-uvm-tools nvidia0 kfd dri/renderD128 dri/card1")
}
