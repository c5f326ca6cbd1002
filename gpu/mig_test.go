package gpu

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// partitioned is a host whose GPU 0 has three MIG instances and GPU 1 two.
func partitioned(t *testing.T) *fakenode.Node {
	n := eight(t)
	n.MIG(0, 8, 3)
	n.MIG(1, 8, 2)
	return n
}

// caps returns the capabilities among the devices.
func (o outcome) caps() string {
	var caps []string
	for _, d := range o.devices {
		if name, ok := strings.CutPrefix(d, "nvidia-caps/nvidia-cap"); ok {
			caps = append(caps, name)
		}
	}
	slices.Sort(caps)
	return strings.Join(caps, " ")
}

func capsOf(n *fakenode.Node, instances ...[2]int) string {
	var caps []string
	for _, i := range instances {
		for _, path := range n.MIGCaps(i[0], 8, i[1]) {
			caps = append(caps, strings.TrimPrefix(path, "/dev/nvidia-caps/nvidia-cap"))
		}
	}
	slices.Sort(caps)
	return strings.Join(caps, " ")
}

// Slurm constrains the instances one by one: those that remain are the task's.
func TestMIGConstrained(t *testing.T) {
	n := partitioned(t)
	for minor := range 8 {
		if minor != 4 && minor != 5 { // GPU 0 and 1
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	for _, other := range [][2]int{{0, 1}, {0, 3}, {1, 1}, {1, 2}} {
		for _, path := range n.MIGCaps(other[0], 8, other[1]) {
			n.Deny(path, unix.EPERM, 0)
		}
	}
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=1", "CUDA_VISIBLE_DEVICES=MIG-1b2c-uuid"))
	wants(t, "GPUs", o.gpus(), "4")
	wants(t, "capabilities", o.caps(), capsOf(n, [2]int{0, 2}))
	if _, ok := o.env["CUDA_VISIBLE_DEVICES"]; ok {
		t.Error("CUDA_VISIBLE_DEVICES was changed")
	}
	for _, e := range o.Edits {
		for _, d := range e.Devices {
			if strings.Contains(d.Path, "nvidia-cap") && d.Access != "r" {
				t.Errorf("%s may be accessed by %s", d.Path, d.Access)
			}
		}
	}
}

func TestMIGByVisibleDevices(t *testing.T) {
	n := partitioned(t)
	tests := map[string]struct{ visible, gpus, caps string }{
		"an instance":      {"0:1", "4", capsOf(n, [2]int{0, 2})},
		"of two GPUs":      {"0:0,1:1", "4 5", capsOf(n, [2]int{0, 1}, [2]int{1, 2})},
		"two of one":       {"0:0,0:2", "4", capsOf(n, [2]int{0, 1}, [2]int{0, 3})},
		"a GPU":            {"1", "5", capsOf(n, [2]int{1, 1}, [2]int{1, 2})},
		"in old notation":  {"MIG-" + fakenode.UUID(0) + "/3/0", "4", capsOf(n, [2]int{0, 3})},
		"instance and GPU": {"0:1,2", "4 6", capsOf(n, [2]int{0, 2})},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := ask(t, n, "NVIDIA_VISIBLE_DEVICES="+test.visible)
			r.Slurm = false
			o := mustGive(t, r)
			wants(t, "GPUs", o.gpus(), test.gpus)
			wants(t, "capabilities", o.caps(), test.caps)
		})
	}
	r := ask(t, n, "NVIDIA_VISIBLE_DEVICES=0:3")
	r.Slurm = false
	says(t, refused(t, r), "NVIDIA_VISIBLE_DEVICES names 0:3, but no such MIG instance is in the allocation")
	r.Env = []string{"NVIDIA_VISIBLE_DEVICES=MIG-0a0b"}
	o := mustGive(t, r)
	wants(t, "GPUs with instances", o.gpus(), "4 5")
	says(t, strings.Join(o.Warnings, "\n"), "but only the driver knows which of 5 MIG instances that is")
	r.Host = eight(t).Tree()
	says(t, refused(t, r), "no MIG instance is in the allocation")
}

func TestMIGControl(t *testing.T) {
	n := partitioned(t)
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=2", "NVIDIA_MIG_CONFIG_DEVICES=all", "NVIDIA_MIG_MONITOR_DEVICES=all"))
	wants(t, "capabilities", o.caps(), "1 2")
	n.Deny("/dev/nvidia-caps/nvidia-cap1", unix.EACCES, 0)
	o = mustGive(t, ask(t, n, "SLURM_STEP_GPUS=2", "NVIDIA_MIG_CONFIG_DEVICES=all"))
	wants(t, "capabilities", o.caps(), "")
	says(t, strings.Join(o.Warnings, "\n"), "NVIDIA_MIG_CONFIG_DEVICES is set, but")
}
