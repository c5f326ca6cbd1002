package gpu

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// inHPC is a task whose container would share the host's /dev.
func inHPC(t *testing.T, n *fakenode.Node, env string) Request {
	t.Helper()
	r := ask(t, n, append(strings.Fields(env), "SLURM_PROCID=0")...)
	r.Mounts = []specs.Mount{{Destination: "/dev/", Source: "/dev", Type: "bind", Options: []string{"rbind"}}}
	return r
}

// dev returns what the container finds in its /dev, and whether it gets one of its own.
func (o outcome) dev() (names []string, made bool) {
	for _, e := range o.Edits {
		if e.From != "gpu /dev" {
			continue
		}
		made = slices.Equal(e.Directories, []string{"/dev"}) && slices.Equal(e.DropMounts, []string{"/dev"})
		for _, m := range e.Mounts {
			names = append(names, strings.TrimPrefix(m.Destination, "/dev/"))
		}
		for _, l := range e.Links {
			names = append(names, strings.TrimPrefix(l.Path, "/dev/"))
		}
	}
	return sorted(names), made
}

// seen returns the numbers of the GPUs that the container finds; "as they are" in the
// host's own /dev.
func (o outcome) seen() string {
	names, made := o.dev()
	if !made {
		return "as they are"
	}
	var numbers []string
	for _, name := range names {
		if _, ok := suffixNumber(name, "nvidia"); ok {
			numbers = append(numbers, strings.TrimPrefix(name, "nvidia"))
		}
	}
	return strings.Join(numbers, " ")
}

// The container finds only its own GPUs of the host, and lists count those; if all are
// its own, it keeps the host's /dev.
func TestOwnDev(t *testing.T) {
	tests := map[string]struct{ env, seen, cuda string }{
		"by index":           {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=2,5", "1 6", "0,1"},
		"without a list":     {"SLURM_STEP_GPUS=2,5", "1 6", ""},
		"narrowed":           {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=2,5 NVIDIA_VISIBLE_DEVICES=1", "1", "0"},
		"narrowed by UUID":   {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=5,2 NVIDIA_VISIBLE_DEVICES=" + fakenode.UUID(2), "6", "0"},
		"narrowed, no list":  {"SLURM_STEP_GPUS=2,5 NVIDIA_VISIBLE_DEVICES=1", "1", ""},
		"narrowed from all":  {"SLURM_GPUS_ON_NODE=8 NVIDIA_VISIBLE_DEVICES=6,7", "2 3", ""},
		"UUIDs stay":         {"SLURM_STEP_GPUS=2,5 CUDA_VISIBLE_DEVICES=" + fakenode.UUID(5) + "," + fakenode.UUID(2) + " NVIDIA_VISIBLE_DEVICES=0", "6", fakenode.UUID(2)},
		"none":               {"SLURM_STEP_GPUS=2 NVIDIA_VISIBLE_DEVICES=none", "", ""},
		"no GPU asked for":   {"NVIDIA_VISIBLE_DEVICES=1", "", ""},
		"all":                {"SLURM_GPUS_ON_NODE=8", "as they are", ""},
		"all by index":       {"SLURM_STEP_GPUS=0,1,2,3,4,5,6,7", "as they are", ""},
		"graphics, no links": {"SLURM_GPUS_ON_NODE=8 NVIDIA_DRIVER_CAPABILITIES=graphics", "as they are", ""},
	}
	n := eight(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := mustGive(t, inHPC(t, n, test.env))
			wants(t, "devices", strings.Join(o.devices, " "), "")
			wants(t, "GPUs", o.seen(), test.seen)
			wants(t, "CUDA_VISIBLE_DEVICES", o.env["CUDA_VISIBLE_DEVICES"], test.cuda)
			if _, made := o.dev(); made {
				return
			}
			for _, place := range slices.Concat(names(o.mounts), names(o.files), names(o.links)) {
				if strings.HasPrefix(place, "/dev/") {
					t.Errorf("something goes into the host's /dev: %s", place)
				}
			}
		})
	}
	o := mustGive(t, inHPC(t, n, "SLURM_STEP_GPUS=2"))
	wants(t, "libcuda.so.1", o.links["/run/.ocishim/gpu/lib/libcuda.so.1"], "/run/.ocishim/gpu/node/0/libcuda.so."+version)
	wants(t, "libcuda.so", o.links["/run/.ocishim/gpu/lib/libcuda.so"], "libcuda.so.1")
	wants(t, "the node's directory", o.mounts["/run/.ocishim/gpu/node/0"], n.Path("/usr/lib/x86_64-linux-gnu"))
	r := inHPC(t, n, "SLURM_STEP_GPUS=2")
	r.Mounts = append(r.Mounts, specs.Mount{Destination: "/run", Type: "tmpfs"})
	wants(t, "libcuda.so.1 beside a /run", mustGive(t, r).links["/.ocishim/gpu/lib/libcuda.so.1"], "/.ocishim/gpu/node/0/libcuda.so."+version)
}

// What is not a GPU stays: device nodes that the caller may use, directories, links,
// and the site's mounts there.
func TestOwnDevKeepsOthers(t *testing.T) {
	n := eight(t)
	for name, minor := range map[string]int{"null": 3, "tty": 0, "console": 1, "sda": 2, "infiniband/uverbs0": 9, "kmsg": 11} {
		n.Device("/dev/"+name, 1, minor)
	}
	n.Deny("/dev/console", unix.EACCES, 5)
	n.Deny("/dev/sda", unix.EACCES, 6)
	n.Dir("/dev/shm")
	n.File("/dev/log", "a socket, or anything that is no device")
	n.Link("/dev/fd", "/proc/self/fd")
	// GPU 2 has minor 6, card3 and renderD130.
	r := inHPC(t, n, "SLURM_STEP_GPUS=2 CUDA_VISIBLE_DEVICES=2")
	r.Mounts = append(r.Mounts, specs.Mount{Destination: "/dev/shm/site", Source: "/site", Type: "bind", Options: []string{"rbind"}})
	o := mustGive(t, r)
	got, _ := o.dev()
	bus := fakenode.Bus(2)
	want := []string{
		"console", "dri/by-path/pci-" + bus + "-card", "dri/by-path/pci-" + bus + "-render", "dri/card3", "dri/renderD130", "fd", "infiniband", "kmsg", "log",
		"null", "nvidia-modeset", "nvidia-nvswitch0", "nvidia-nvswitch1", "nvidia-nvswitch2", "nvidia-nvswitch3", "nvidia-nvswitch4", "nvidia-nvswitch5",
		"nvidia-nvswitchctl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia6", "nvidiactl", "shm", "shm/site", "tty",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	wants(t, "source", o.mounts["/dev/null"], n.Path("/dev/null"))
	wants(t, "the site's", o.mounts["/dev/shm/site"], "/site")
	wants(t, "a link", o.links["/dev/fd"], "/proc/self/fd")

	// Without any GPU, nothing of NVIDIA's is there.
	o = mustGive(t, inHPC(t, n, ""))
	got, _ = o.dev()
	slices.Sort(got)
	if want := []string{"console", "fd", "infiniband", "kmsg", "log", "null", "shm", "tty"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	wants(t, "rule", o.rules["gpu /dev"], "without 51 entries of GPUs that are not the task's")

	// A site that disables NVIDIA, and a host without GPUs.
	r = inHPC(t, n, "")
	r.Site.Vendors = []string{"amd"}
	none := fakenode.New(t)
	none.Device("/dev/null", 1, 3)
	none.Device("/dev/dri/card0", 226, 0) // a server's VGA
	for _, r := range []Request{r, inHPC(t, none, "")} {
		if o := mustGive(t, r); !o.nothing() {
			t.Errorf("got %v", o.Edits)
		}
	}
	// Outside of Slurm nothing is allocated.
	r = inHPC(t, n, "")
	r.Slurm = false
	if o := mustGive(t, r); !o.nothing() {
		t.Errorf("got %v", o.Edits)
	}
}

// Terminals are the host's if anyone may create one in its /dev/pts, otherwise the
// container's own.
func TestOwnDevTerminals(t *testing.T) {
	n := eight(t)
	n.Device("/dev/console", 5, 1)
	n.Device("/dev/ptmx", 5, 2)
	n.Device("/dev/pts/ptmx", 5, 2)
	n.Device("/dev/pts/3", 136, 3)
	r := inHPC(t, n, "SLURM_STEP_GPUS=2")
	r.Terminal = "/dev/pts/3"
	o := mustGive(t, r)
	wants(t, "ptmx", o.links["/dev/ptmx"], "pts/ptmx")
	wants(t, "pts", o.mounts["/dev/pts"], n.Path("/dev/pts"))
	wants(t, "console", o.mounts["/dev/console"], n.Path("/dev/console"))
	n.Deny("/dev/pts/ptmx", unix.EACCES, 0)
	o = mustGive(t, r)
	wants(t, "ptmx", o.links["/dev/ptmx"], "pts/ptmx")
	wants(t, "own pts", o.mounts["/dev/pts"], "devpts")
	wants(t, "the terminal", o.mounts["/dev/console"], n.Path("/dev/pts/3"))
	r.Terminal = ""
	wants(t, "no terminal", mustGive(t, r).mounts["/dev/console"], n.Path("/dev/console"))
}

func TestOwnDevConstrained(t *testing.T) {
	n := eight(t)
	for minor := range 8 {
		if minor > 1 {
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	for env, want := range map[string]struct{ seen, cuda string }{
		"SLURM_STEP_GPUS=4,5 CUDA_VISIBLE_DEVICES=0,1":                          {"0 1", ""},
		"SLURM_STEP_GPUS=4,5 CUDA_VISIBLE_DEVICES=1":                            {"0 1", ""}, // and another task's, for CUDA IPC
		"SLURM_STEP_GPUS=4,5 CUDA_VISIBLE_DEVICES=0,1 NVIDIA_VISIBLE_DEVICES=1": {"1", "0"},
		"SLURM_STEP_GPUS=4,5 NVIDIA_VISIBLE_DEVICES=1":                          {"1", ""},
	} {
		o := mustGive(t, inHPC(t, n, env))
		wants(t, env, o.seen(), want.seen)
		wants(t, env, o.env["CUDA_VISIBLE_DEVICES"], want.cuda)
	}
	r := inHPC(t, n, "SLURM_STEP_GPUS=4,5 CUDA_VISIBLE_DEVICES=1")
	r.Site.Isolate = true
	wants(t, "isolated", mustGive(t, r).seen(), "1")
}

// Of the MIG capabilities the container finds only its own.
func TestOwnDevOfMIG(t *testing.T) {
	n := fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 2, Driver: version, LibDir: "/usr/lib64"})
	n.MIG(0, 2, 2)
	kept, denied := n.MIGCaps(0, 2, 1), n.MIGCaps(0, 2, 2)
	for _, at := range append(denied, fmt.Sprint("/dev/nvidia", fakenode.Minor(1, 2))) {
		n.Deny(at, unix.EPERM, 0)
	}
	o := mustGive(t, inHPC(t, n, "SLURM_STEP_GPUS=0"))
	wants(t, "GPUs", o.seen(), strconv.Itoa(fakenode.Minor(0, 2)))
	var caps []string
	for destination := range o.mounts {
		if path.Dir(destination) == "/dev/nvidia-caps" {
			caps = append(caps, destination)
		}
	}
	for _, at := range kept {
		if !slices.Contains(caps, at) {
			t.Errorf("%s is not there", at)
		}
	}
	for _, at := range denied {
		if slices.Contains(caps, at) {
			t.Errorf("%s is there", at)
		}
	}
}

func TestOwnDevOfAMD(t *testing.T) {
	dev := func(env string) (names []string, o outcome) {
		n := mi300(t, 1)
		n.Device("/dev/null", 1, 3)
		o = mustGive(t, inHPC(t, n, env))
		names, _ = o.dev()
		return names, o
	}
	names, o := dev("SLURM_STEP_GPUS=1,3 ROCR_VISIBLE_DEVICES=1,3 HIP_VISIBLE_DEVICES=0")
	has := strings.Join(names, " ")
	says(t, has, "kfd", "dri/renderD129", "dri/renderD131", "dri/card0", "null")
	if strings.Contains(has, "renderD128") || strings.Contains(has, "renderD130") {
		t.Errorf("another GPU is there: %s", has)
	}
	wants(t, "ROCR_VISIBLE_DEVICES", o.env["ROCR_VISIBLE_DEVICES"], "0,1")
	names, _ = dev("")
	if has := strings.Join(names, " "); strings.Contains(has, "kfd") || strings.Contains(has, "render") || !strings.Contains(has, "dri/card0") {
		t.Errorf("no GPU asked for: %s", has)
	}
	_, o = dev("SLURM_GPUS_ON_NODE=4")
	if len(o.Edits) > 0 {
		t.Errorf("all: edits %+v", o.Edits)
	}
}

// A processor's own graphics next to other GPUs is not allocated to anyone, and stays.
func TestOwnDevOfIntel(t *testing.T) {
	n := fakenode.New(t)
	n.Intel(2)
	n.Device("/dev/null", 1, 3)
	o := mustGive(t, inHPC(t, n, "SLURM_STEP_GPUS=1 ZE_AFFINITY_MASK=1"))
	names, made := o.dev()
	if has := strings.Join(names, " "); !made || strings.Count(has, "dri/renderD") != 2 || !strings.Contains(has, "dri/renderD180") {
		t.Errorf("got %v", has)
	}
	wants(t, "ZE_AFFINITY_MASK", o.env["ZE_AFFINITY_MASK"], "0")
}

// Slurm 22.05 writes the configuration before it knows the task: then the device cgroup
// says which GPUs are the task's, and if it denies none, nothing says so.
func TestEarlyConfiguration(t *testing.T) {
	n := eight(t)
	early := func() Request {
		r := inHPC(t, n, "SLURM_JOB_ID=1")
		r.Env = r.Env[:1]
		return r
	}
	if o := mustGive(t, early()); !o.nothing() {
		t.Errorf("nothing is denied: %v", o.Edits)
	}
	for minor := range 8 {
		if minor > 1 {
			n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
		}
	}
	o := mustGive(t, early())
	wants(t, "GPUs", o.seen(), "0 1")
	wants(t, "rule", o.rules["gpu libraries"], "NVIDIA driver "+version)
	if _, set := o.env["CUDA_VISIBLE_DEVICES"]; set {
		t.Error("CUDA_VISIBLE_DEVICES is set")
	}
	r := early()
	r.Mounts = ask(t, n).Mounts
	o = mustGive(t, r)
	wants(t, "GPUs under oci", o.gpus(), "0 1")
	wants(t, "rule", o.rules["nvidia devices"], "2 of 8 GPUs allowed by the device cgroup; Slurm sets no variable for them")
	r.Env = append(r.Env, "NVIDIA_VISIBLE_DEVICES=1")
	wants(t, "GPUs, narrowed", mustGive(t, r).gpus(), "1")
	r.Env = []string{"SLURM_JOB_ID=1", "SLURM_PROCID=0"}
	if o := mustGive(t, r); !o.nothing() {
		t.Errorf("a later Slurm says that the task has none: %v", o.Edits)
	}
	r = inHPC(t, n, "SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_JOB_GPUS=3,4,5 SLURM_GPUS_ON_NODE=3 CUDA_VISIBLE_DEVICES=0,1,2")
	wants(t, "the list of the script", mustGive(t, r).env["CUDA_VISIBLE_DEVICES"], "0,1")
	for minor := range 2 {
		n.Deny(fmt.Sprintf("/dev/nvidia%d", minor), unix.EPERM, 0)
	}
	o = mustGive(t, early())
	wants(t, "all are denied", o.seen(), "")
	wants(t, "devices", strings.Join(o.devices, " "), "")
}
