package gpu

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/text"
)

const cdiLibs = "/usr/lib/x86_64-linux-gnu"

// nvidiaSpec returns a shortened output of `nvidia-ctk cdi generate`.
func nvidiaSpec(version string) string {
	return strings.ReplaceAll(`---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  - hostPath: /dev/nvidia-uvm
    path: /dev/nvidia-uvm
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-cdi-hook
    - create-symlinks
    - --link
    - libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so
    - --link
    - ../libnvidia-allocator.so.1::/usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  - args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version=VERSION]
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  - args:
    - nvidia-ctk
    - hook
    - update-ldcache
    - --folder
    - /usr/lib/x86_64-linux-gnu
    - --folder
    - /usr/lib/x86_64-linux-gnu/vdpau
    hookName: createContainer
    path: /usr/bin/nvidia-ctk
  - args: [nvidia-cdi-hook, disable-device-node-modification]
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  mounts:
  - containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.VERSION
    hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.VERSION
    options: [ro, nosuid, nodev, rbind, rprivate]
  - containerPath: /usr/lib/x86_64-linux-gnu/vdpau/libvdpau_nvidia.so.VERSION
    hostPath: /usr/lib/x86_64-linux-gnu/vdpau/libvdpau_nvidia.so.VERSION
    options: [ro, nosuid, nodev, rbind, rprivate]
  - containerPath: /usr/bin/nvidia-smi
    hostPath: /usr/bin/nvidia-smi
    options:
    - ro
    - bind
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia4
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia5
      permissions: r
      fileMode: 0444
  name: "1"
kind: nvidia.com/gpu
`, "VERSION", version)
}

func withCDI(t *testing.T, n *fakenode.Node, names ...string) Request {
	t.Helper()
	r := ask(t, n)
	r.Slurm, r.CDI = false, names
	return r
}

func TestCDIOfNVIDIA(t *testing.T) {
	n := eight(t)
	n.File("/etc/cdi/nvidia.yaml", nvidiaSpec(version))
	o := mustGive(t, withCDI(t, n, "nvidia.com/gpu=1"))
	wants(t, "devices", strings.Join(o.devices, " "), "nvidiactl nvidia-uvm nvidia5")
	wants(t, "variable", o.env["NVIDIA_VISIBLE_DEVICES"], "void")
	wants(t, "libcuda", o.mounts[private+"/lib/libcuda.so."+version], n.Path(cdiLibs+"/libcuda.so."+version))
	wants(t, "libvdpau", o.mounts[private+"/lib/libvdpau_nvidia.so."+version], n.Path(cdiLibs+"/vdpau/libvdpau_nvidia.so."+version))
	wants(t, "nvidia-smi", o.mounts["/usr/bin/nvidia-smi"], n.Path("/usr/bin/nvidia-smi"))
	wants(t, "link", o.links[private+"/lib/libcuda.so"], "libcuda.so.1")
	wants(t, "link of a directory", o.links[private+"/lib/gbm/nvidia-drm_gbm.so"], "../libnvidia-allocator.so.1")
	says(t, o.files["/proc/driver/nvidia/params"], "ModifyDeviceFiles: 0")
	c, err := ldcache.Parse([]byte(o.files[ldcache.Path]))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "cache", strings.Join(c.Lookup("libcuda.so.1", ldcache.Flags("amd64")), " "), private+"/lib/libcuda.so.1")
	for _, e := range o.Edits {
		if e.Hooks != nil {
			t.Errorf("hooks are left: %+v", e.Hooks)
		}
		for _, d := range e.Devices {
			want, mode := "rwm", 0o666
			if d.Path == "/dev/nvidia5" {
				want, mode = "r", 0o444
			}
			if d.Access != want || int(*d.FileMode) != mode || d.Major == 0 {
				t.Errorf("%s: access %s, mode %o, major %d", d.Path, d.Access, *d.FileMode, d.Major)
			}
		}
	}
	if len(o.Warnings) > 0 {
		t.Errorf("warnings %v", o.Warnings)
	}
}

func TestCDIIsAskedFor(t *testing.T) {
	n := eight(t)
	n.File("/var/run/cdi/nvidia.yaml", nvidiaSpec(version))
	r := withCDI(t, n)
	r.Annotations = map[string]string{"cdi.k8s.io/x": "nvidia.com/gpu=0,nvidia.com/gpu=1", "other": "nvidia.com/gpu=9"}
	wants(t, "by annotation", mustGive(t, r).gpus(), "4 5")
	r = withCDI(t, n)
	r.Env = []string{"NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=1"}
	wants(t, "by variable", mustGive(t, r).gpus(), "5")
	r.Env = []string{"NVIDIA_VISIBLE_DEVICES=vendor.com/fpga=x"}
	says(t, refused(t, r), "NVIDIA_VISIBLE_DEVICES names vendor.com/fpga=x, which is not among")
	r = withCDI(t, n, "nvidia.com/gpu=0", "nvidia.com/gpu=0")
	wants(t, "twice", mustGive(t, r).gpus(), "4")
	for _, wrong := range []string{"0", "nvidia.com/gpu", "/gpu=0", "nvidia.com/=0", "nvidia.com/gpu=", "nvidia.com/gpu=-x", "9vidia.com/gpu=0"} {
		says(t, refused(t, withCDI(t, n, wrong)), "use CDI device "+text.Printable(wrong)+": not a qualified name")
	}
	says(t, refused(t, withCDI(t, n, "nvidia.com/gpu=7")), "use CDI device nvidia.com/gpu=7: not defined in /etc/cdi, /var/run/cdi")
	n.File("/etc/cdi/broken.json", "{")
	says(t, refused(t, withCDI(t, n, "nvidia.com/gpu=7")), "/etc/cdi/broken.json cannot be read: unexpected EOF")
	wants(t, "with a broken one beside", mustGive(t, withCDI(t, n, "nvidia.com/gpu=0")).gpus(), "4")
}

// Under Slurm a specification does not widen the allocation.
func TestCDIWithinAllocation(t *testing.T) {
	n := eight(t)
	n.File("/etc/cdi/nvidia.yaml", nvidiaSpec(version))
	r := withCDI(t, n, "nvidia.com/gpu=1")
	r.Slurm, r.Env = true, []string{"SLURM_PROCID=0"}
	says(t, refused(t, r), "nvidia.com/gpu=1 of /etc/cdi/nvidia.yaml: /dev/nvidia5 is not in the allocation: Slurm gave this task no GPUs")
	r.Env = []string{"SLURM_STEP_GPUS=0"}
	says(t, refused(t, r), "/dev/nvidia5 is not in the allocation: SLURM_STEP_GPUS=0")
	r.Env = []string{"SLURM_STEP_GPUS=0,1"}
	wants(t, "allocated", mustGive(t, r).gpus(), "5")
	n.Deny("/dev/nvidia5", unix.EPERM, 0)
	says(t, refused(t, r), "the device cgroup denies /dev/nvidia5: it is not in the allocation")
}

// Next to a device requested by name, other vendors' GPUs are given by their own rules.
// Slurm's variable then counts the GPUs that are there.
func TestCDINarrowsSlurm(t *testing.T) {
	n := eight(t)
	n.File("/etc/cdi/nvidia.yaml", nvidiaSpec(version))
	slurm := func(env ...string) Request {
		r := withCDI(t, n, "nvidia.com/gpu=1")
		r.Slurm, r.Env = true, env
		return r
	}
	// nvidia5 is the second GPU by PCI address.
	o := mustGive(t, slurm("SLURM_STEP_GPUS=0,1,2", "CUDA_VISIBLE_DEVICES=0,1,2"))
	wants(t, "GPUs", o.gpus(), "5")
	wants(t, "CUDA_VISIBLE_DEVICES", o.env["CUDA_VISIBLE_DEVICES"], "0")
	r := slurm("SLURM_STEP_GPUS=0,1,2", "CUDA_VISIBLE_DEVICES=0,1,2")
	r.Mounts = inHPC(t, n, "").Mounts
	o = mustGive(t, r)
	wants(t, "GPUs in the hpc profile", o.seen(), "5")
	wants(t, "CUDA_VISIBLE_DEVICES in the hpc profile", o.env["CUDA_VISIBLE_DEVICES"], "0")
	for minor := range 8 {
		if minor != 5 && minor != 6 {
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	o = mustGive(t, slurm("SLURM_STEP_GPUS=1,2", "CUDA_VISIBLE_DEVICES=0,1"))
	wants(t, "CUDA_VISIBLE_DEVICES, constrained", o.env["CUDA_VISIBLE_DEVICES"], "0")
}

func TestCDIBesideSlurm(t *testing.T) {
	n := eight(t)
	n.Device("/dev/fpga0", 240, 0)
	n.File("/etc/cdi/fpga.json", `{"cdiVersion":"0.3.0","kind":"vendor.com/fpga","devices":[{"name":"x","containerEdits":{"deviceNodes":[{"path":"/dev/fpga0"}]}}]}`)
	r := withCDI(t, n, "vendor.com/fpga=x")
	r.Slurm, r.Env = true, []string{"SLURM_STEP_GPUS=0"}
	wants(t, "devices", strings.Join(mustGive(t, r).devices, " "), "fpga0 nvidiactl nvidia-uvm nvidia-uvm-tools nvidia4")
}

func TestCDIStale(t *testing.T) {
	n := eight(t)
	n.File("/etc/cdi/nvidia.yaml", nvidiaSpec("535.1.2"))
	text := refused(t, withCDI(t, n, "nvidia.com/gpu=0"))
	says(t, text, "use CDI device nvidia.com/gpu=0 of /etc/cdi/nvidia.yaml: stale specification: there is no "+cdiLibs+"/libcuda.so.535.1.2; generate the specification again")
	_, err := Edits(withCDI(t, n, "nvidia.com/gpu=0"))
	if !errors.Is(err, ErrStale) {
		t.Errorf("%v is not ErrStale", err)
	}
	r := withCDI(t, n, "nvidia.com/gpu=0")
	r.Site.RepairStale = true
	o := mustGive(t, r)
	wants(t, "repaired", o.mounts[private+"/lib/libcuda.so."+version], n.Path(cdiLibs+"/libcuda.so."+version))
	says(t, strings.Join(o.Warnings, "\n"), "/etc/cdi/nvidia.yaml names "+cdiLibs+"/libcuda.so.535.1.2, which is gone")

	spec := `{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"%s","type":"c","major":%d,"minor":0}]}}]}`
	n.File("/etc/cdi/nvidia.yaml", fmt.Sprintf(spec, "/dev/nvidia-uvm", 511))
	says(t, refused(t, withCDI(t, n, "nvidia.com/gpu=0")), "stale specification: /dev/nvidia-uvm is device c 510:0 now, not c 511:0")
	n.File("/etc/cdi/nvidia.yaml", fmt.Sprintf(spec, "/dev/nvidia-uvm", 510))
	mustGive(t, withCDI(t, n, "nvidia.com/gpu=0"))
	n.File("/etc/cdi/nvidia.yaml", fmt.Sprintf(spec, "/dev/nvidia99", 195))
	says(t, refused(t, withCDI(t, n, "nvidia.com/gpu=0")), "there is no device /dev/nvidia99")
}

// A later directory overrides; two files of one directory must not define the same
// device.
func TestCDIPriorities(t *testing.T) {
	n := eight(t)
	spec := func(node string) string {
		return `{"cdiVersion":"1.0.0","kind":"v.com/gpu","annotations":{"a":"b"},"devices":[{"name":"x","containerEdits":{"deviceNodes":[{"path":"/dev/` + node + `"}]}}]}`
	}
	n.File("/etc/cdi/a.json", spec("nvidia0"))
	n.File("/var/run/cdi/a.json", spec("nvidia1"))
	n.File("/site/cdi/a.json", spec("nvidia2"))
	n.File("/site/cdi/a.txt", spec("nvidia3"))
	r := withCDI(t, n, "v.com/gpu=x")
	wants(t, "by default", mustGive(t, r).gpus(), "1")
	r.Site.CDIDirs = []string{"/var/run/cdi", "/site/cdi", "/etc/none"}
	wants(t, "by the site", mustGive(t, r).gpus(), "2")
	n.File("/site/cdi/b.json", spec("nvidia4"))
	says(t, refused(t, r), "both /site/cdi/a.json and /site/cdi/b.json define it")
}

func TestCDIEdits(t *testing.T) {
	n := eight(t)
	n.Device("/dev/host", 240, 7)
	n.File("/opt/x", "")
	n.File("/etc/cdi/v.json", `{"cdiVersion":"1.1.0","kind":"v.com/c.d","devices":[{"name":"1","containerEdits":{
		"env":["A=1"],"additionalGids":[0,44],
		"deviceNodes":[{"path":"/dev/inside","hostPath":"/dev/host","permissions":"none","uid":5,"gid":6}],
		"mounts":[{"hostPath":"/opt/x","containerPath":"/x"},{"hostPath":"tmpfs","containerPath":"/t","type":"tmpfs","options":["size=1k"]}],
		"hooks":[{"hookName":"poststop","path":"/bin/hook","args":["hook","x"],"env":["H=1"],"timeout":3},
			{"hookName":"createContainer","path":"/usr/bin/nvidia-cdi-hook","args":["nvidia-cdi-hook","frob"]}]}}]}`)
	o := mustGive(t, withCDI(t, n, "v.com/c.d=1"))
	if len(o.Edits) != 1 {
		t.Fatalf("%d edits", len(o.Edits))
	}
	e := o.Edits[0]
	d := e.Devices[0]
	if d.Path != "/dev/inside" || d.HostPath != "/dev/host" || d.Access != "" || *d.UID != 5 || *d.GID != 6 || d.Minor != 7 {
		t.Errorf("device %+v", d)
	}
	if len(e.AdditionalGids) != 1 || e.AdditionalGids[0] != 44 || e.Env[0] != "A=1" || e.From != "cdi v.com/c.d=1" || e.Rule != "/etc/cdi/v.json" {
		t.Errorf("edit %+v", e)
	}
	if len(e.Mounts) != 2 || e.Mounts[0].Options[0] != "rbind" || e.Mounts[1].Type != "tmpfs" || e.Mounts[1].Source != "tmpfs" {
		t.Errorf("mounts %+v", e.Mounts)
	}
	if h := e.Hooks; h == nil || len(h.Poststop) != 1 || h.Poststop[0].Path != "/bin/hook" || *h.Poststop[0].Timeout != 3 || len(h.CreateContainer) != 1 {
		t.Errorf("hooks %+v", h)
	}
}

func TestCDIRefuses(t *testing.T) {
	n := eight(t)
	for words, edits := range map[string]string{
		"unknown field":                     `{"devicenodes2":[]}`,
		"netDevices are not supported":      `{"netDevices":[{"hostInterfaceName":"a","name":"b"}]}`,
		"intelRdt is not supported":         `{"intelRdt":{"closID":"x"}}`,
		"A is not NAME=value":               `{"env":["A"]}`,
		"permissions x":                     `{"deviceNodes":[{"path":"/dev/nvidia0","permissions":"x"}]}`,
		"deviceNodes: an entry has no abs":  `{"deviceNodes":[{"path":"nvidia0"}]}`,
		"lacks hostPath or an absolute co":  `{"mounts":[{"hostPath":"/x","containerPath":"x"}]}`,
		"hooks: an entry has no absolute p": `{"hooks":[{"hookName":"poststop","path":"x"}]}`,
		"unknown hookName later":            `{"hooks":[{"hookName":"later","path":"/x"}]}`,
		"hook create-symlinks: x is not":    `{"hooks":[{"hookName":"createContainer","path":"/nvidia-cdi-hook","args":["a","create-symlinks","--link=x"]}]}`,
		"there is no /none":                 `{"mounts":[{"hostPath":"/none","containerPath":"/x"}]}`,
		"device name x y is invalid":        `{}},{"name":"x y","containerEdits":{}`,
		"device name 0 is invalid or defin": `{}},{"name":"0","containerEdits":{}`,
	} {
		n.File("/etc/cdi/v.json", `{"cdiVersion":"1.1.0","kind":"v.com/c","devices":[{"name":"0","containerEdits":`+edits+`}]}`)
		says(t, refused(t, withCDI(t, n, "v.com/c=0")), words)
	}
	for words, head := range map[string]string{
		"spec version must be at least v0.5.0": `"cdiVersion":"0.4.0","kind":"v.com/c"`,
		"spec version must be at least":        `"cdiVersion":"0.2.0","kind":"v.com/c"`,
		"invalid version":                      `"cdiVersion":"9.0.0","kind":"v.com/c"`,
		"kind vcom is not a vendor":            `"cdiVersion":"0.5.0","kind":"vcom"`,
	} {
		n.File("/etc/cdi/v.json", `{`+head+`,"devices":[{"name":"0","containerEdits":{}}]}`)
		says(t, refused(t, withCDI(t, n, "v.com/c=0")), words)
	}
}
