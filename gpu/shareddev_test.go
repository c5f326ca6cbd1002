package gpu

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// inHPC is a task whose container has the node's own /dev.
func inHPC(t *testing.T, n *fakenode.Node, env string) Request {
	t.Helper()
	r := ask(t, n, strings.Fields(env)...)
	r.Mounts = []specs.Mount{{Destination: "/dev/", Source: "/dev", Type: "bind", Options: []string{"rbind"}}}
	return r
}

// In the node's own /dev all devices are there, as for a task without a
// container: nothing is added, and lists go on counting what they counted.
func TestSharedDev(t *testing.T) {
	tests := map[string]struct{ env, cuda string }{
		"as Slurm has it":    {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=2,5", ""},
		"without a list":     {"SLURM_STEP_GPUS=2,5", "2,5"},
		"narrowed":           {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=2,5 NVIDIA_VISIBLE_DEVICES=1", "5"},
		"narrowed by UUID":   {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=5,2 NVIDIA_VISIBLE_DEVICES=" + fakenode.UUID(2), "2"},
		"narrowed, no list":  {"SLURM_STEP_GPUS=2,5 NVIDIA_VISIBLE_DEVICES=1", "5"},
		"narrowed from all":  {"SLURM_GPUS_ON_NODE=8 NVIDIA_VISIBLE_DEVICES=6,7", "6,7"},
		"UUIDs stay":         {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=" + fakenode.UUID(5) + "," + fakenode.UUID(2) + " NVIDIA_VISIBLE_DEVICES=0", fakenode.UUID(2)},
		"nothing asked":      {"NVIDIA_VISIBLE_DEVICES=1", ""},
		"graphics, no links": {"SLURM_STEP_GPUS=2 CUDA_VISIBLE_DEVICES=2 NVIDIA_DRIVER_CAPABILITIES=graphics", ""},
	}
	n := eight(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := mustGive(t, inHPC(t, n, test.env))
			wants(t, "devices", strings.Join(o.devices, " "), "")
			wants(t, "CUDA_VISIBLE_DEVICES", o.env["CUDA_VISIBLE_DEVICES"], test.cuda)
			for _, link := range names(o.links) {
				if strings.HasPrefix(link, "/dev/") {
					t.Errorf("a link in the node's /dev: %s", link)
				}
			}
			for _, place := range append(names(o.mounts), names(o.files)...) {
				if strings.HasPrefix(place, "/dev/") {
					t.Errorf("a mount in the node's /dev: %s", place)
				}
			}
		})
	}
	o := mustGive(t, inHPC(t, n, "SLURM_STEP_GPUS=2"))
	if o.mounts["/run/.ocishim/gpu/lib/libcuda.so."+version] == "" {
		t.Errorf("libcuda is at %v", names(o.mounts))
	}
	r := inHPC(t, n, "SLURM_STEP_GPUS=2")
	r.Mounts = append(r.Mounts, specs.Mount{Destination: "/run", Type: "tmpfs"})
	if o := mustGive(t, r); o.mounts["/.ocishim/gpu/lib/libcuda.so."+version] == "" {
		t.Errorf("libcuda is at %v", names(o.mounts))
	}
}

func TestSharedDevConstrained(t *testing.T) {
	n := eight(t)
	for minor := range 8 {
		if minor > 1 {
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	for env, cuda := range map[string]string{
		"SLURM_STEP_GPUS=4,5 CUDA_VISIBLE_DEVICES=0,1":                          "",
		"SLURM_STEP_GPUS=4,5 CUDA_VISIBLE_DEVICES=0,1 NVIDIA_VISIBLE_DEVICES=1": "1",
		"SLURM_STEP_GPUS=4,5 NVIDIA_VISIBLE_DEVICES=1":                          "1",
	} {
		wants(t, env, mustGive(t, inHPC(t, n, env)).env["CUDA_VISIBLE_DEVICES"], cuda)
	}
}

func TestSharedDevOfAMD(t *testing.T) {
	o := mustGive(t, inHPC(t, mi300(t, 1), "SLURM_STEP_GPUS=1,3 ROCR_VISIBLE_DEVICES=1,3 HIP_VISIBLE_DEVICES=0"))
	if len(o.Edits) > 0 {
		t.Errorf("edits %+v", o.Edits)
	}
	o = mustGive(t, inHPC(t, mi300(t, 1), "SLURM_STEP_GPUS=1,3 ROCR_VISIBLE_DEVICES=1,3 AMD_VISIBLE_DEVICES=1"))
	wants(t, "ROCR_VISIBLE_DEVICES", o.env["ROCR_VISIBLE_DEVICES"], "3")
}
