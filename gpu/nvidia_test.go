package gpu

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A plain image gets compute and utility by default.
func TestNVIDIAByDefault(t *testing.T) {
	n := eight(t)
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "CUDA_VISIBLE_DEVICES=0"))
	wants(t, "devices", strings.Join(o.devices, " "), "nvidiactl nvidia-uvm nvidia-uvm-tools nvidia4")
	lib := private + "/lib"
	libraries := o.mounted(lib)
	for _, name := range []string{"libcuda", "libnvidia-ml", "libnvidia-ptxjitcompiler", "libnvidia-nvvm", "libcudadebugger", "libnvidia-gpucomp", "libnvidia-pkcs11"} {
		if !slices.Contains(libraries, name+".so."+version) {
			t.Errorf("%s is not given", name)
		}
		wants(t, "source of "+name, o.mounts[lib+"/"+name+".so."+version], n.Path("/usr/lib/x86_64-linux-gnu/"+name+".so."+version))
	}
	for _, name := range []string{"libGLX_nvidia", "libnvidia-encode", "libnvidia-ngx", "libnvidia-gtk3", "vdpau/libvdpau_nvidia", "libc"} {
		if slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(l, name+".") }) {
			t.Errorf("%s is given", name)
		}
	}
	wants(t, "libcuda.so.1", o.links[lib+"/libcuda.so.1"], "libcuda.so."+version)
	wants(t, "libcuda.so", o.links[lib+"/libcuda.so"], "libcuda.so.1")
	wants(t, "libnvidia-nvvm.so", o.links[lib+"/libnvidia-nvvm.so"], "libnvidia-nvvm.so.4")
	wants(t, "nvidia-smi", o.mounts["/usr/local/bin/nvidia-smi"], n.Path("/usr/bin/nvidia-smi"))
	wants(t, "OpenCL", o.mounts[private+"/share/OpenCL/vendors/nvidia.icd"], n.Path("/etc/OpenCL/vendors/nvidia.icd"))
	wants(t, "OCL_ICD_VENDORS", o.env["OCL_ICD_VENDORS"], private+"/share/OpenCL/vendors")
	wants(t, "persistenced", o.mounts["/run/nvidia-persistenced/socket"], n.Path("/run/nvidia-persistenced/socket"))
	says(t, o.files["/proc/driver/nvidia/params"], "ModifyDeviceFiles: 0", "ResmanDebugLevel")
	if len(o.Warnings) > 0 {
		t.Errorf("warnings %v", o.Warnings)
	}
	for _, mount := range names(o.mounts) {
		if strings.Contains(mount, "gsp") || strings.Contains(mount, "nvoptix") || strings.Contains(mount, "vulkan") {
			t.Errorf("%s is given", mount)
		}
	}
}

// The loader's cache lists what is given, and all that the image had.
func TestLoaderCacheOfImage(t *testing.T) {
	r := ask(t, eight(t), "SLURM_STEP_GPUS=0")
	c, err := ldcache.Parse([]byte(mustGive(t, r).files[ldcache.Path]))
	if err != nil {
		t.Fatal(err)
	}
	flags := ldcache.Flags("amd64")
	for name, path := range map[string]string{
		"libcuda.so.1": private + "/lib/libcuda.so.1", "libcuda.so": private + "/lib/libcuda.so",
		"libz.so.1": "/lib/x86_64-linux-gnu/libz.so.1", "libc.so.6": "/lib/x86_64-linux-gnu/libc.so.6",
	} {
		wants(t, name, strings.Join(c.Lookup(name, flags), " "), path)
	}

	// Another provider has edited the cache before.
	earlier := &ldcache.Cache{Entries: []ldcache.Entry{{Name: "libmpi.so.40", Path: "/mpi", Flags: flags}, {Name: "libcuda.so.1", Path: "/old", Flags: flags}, {Name: "libcuda.so.1", Path: "/32", Flags: 3}}}
	r.LoaderCache = earlier.Encode()
	c, err = ldcache.Parse([]byte(mustGive(t, r).files[ldcache.Path]))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "libmpi", strings.Join(c.Lookup("libmpi.so.40", flags), " "), "/mpi")
	wants(t, "libcuda", strings.Join(c.Lookup("libcuda.so.1", flags), " "), private+"/lib/libcuda.so.1")
	wants(t, "32-bit libcuda", strings.Join(c.Lookup("libcuda.so.1", 3), " "), "/32")
}

func TestCapabilities(t *testing.T) {
	n := eight(t)
	has := map[string]string{ // a file for each capability
		"compute": "lib/libcuda.so." + version, "utility": "lib/libnvidia-ml.so." + version, "video": "lib/vdpau/libvdpau_nvidia.so." + version,
		"graphics": "lib/libGLX_nvidia.so." + version, "ngx": "lib/libnvidia-ngx.so." + version, "display": "lib/libnvidia-wayland-client.so." + version,
	}
	for capability := range has {
		o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES="+capability))
		for other, file := range has {
			if given := o.mounts[private+"/"+file] != ""; given != (other == capability) {
				t.Errorf("%s: %s given: %v", capability, file, given)
			}
		}
	}
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES=all"))
	for _, file := range has {
		if o.mounts[private+"/"+file] == "" {
			t.Errorf("all: %s is not given", file)
		}
	}
	wants(t, "GL's library for X without NVIDIA", o.links[private+"/lib/libGLX_indirect.so.0"], "libGLX_nvidia.so.0")
	wants(t, "GBM's backend", o.links[private+"/lib/gbm/nvidia-drm_gbm.so"], "../libnvidia-allocator.so.1")
	wants(t, "a library with a version of its own", o.links[private+"/lib/libnvidia-egl-gbm.so.1"], "libnvidia-egl-gbm.so.1.1.1")
	wants(t, "Vulkan", o.mounts[private+"/share/vulkan/icd.d/nvidia_icd.json"], n.Path("/usr/share/vulkan/icd.d/nvidia_icd.json"))
	wants(t, "OptiX", o.mounts["/usr/share/nvidia/nvoptix.bin"], n.Path("/usr/share/nvidia/nvoptix.bin"))
	says(t, strings.Join(o.prepend, " "), "XDG_DATA_DIRS="+private+"/share", "__EGL_VENDOR_LIBRARY_DIRS="+private+"/share/glvnd/egl_vendor.d", "GBM_BACKENDS_PATH=")
	says(t, o.env["XDG_DATA_DIRS"], "/usr/local/share:/usr/share")
	// GPU 0 has minor 4.
	wants(t, "profile", o.files["/etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf"],
		`{"profiles":[{"name":"ocishim","settings":["EGLVisibleDGPUDevices",16]}],"rules":[{"pattern":[],"profile":"ocishim"}]}`)
	for _, d := range []string{"nvidia-modeset", "dri/card1", "dri/renderD128"} {
		if !slices.Contains(o.devices, d) {
			t.Errorf("%s is not given: %v", d, o.devices)
		}
	}
	if slices.Contains(o.devices, "dri/card2") {
		t.Error("another GPU's card is given")
	}
	wants(t, "by-path", o.links["/dev/dri/by-path/pci-"+fakenode.Bus(0)+"-card"], "../card1")
	if len(o.links["/dev/dri/by-path/pci-"+fakenode.Bus(1)+"-card"]) > 0 {
		t.Error("another GPU's link is made")
	}

	says(t, refused(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES=compute,magic")), "NVIDIA_DRIVER_CAPABILITIES asks for the capability magic; known are compute, utility")
	o = mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES=compute,compat32"))
	says(t, strings.Join(o.Warnings, "\n"), "ocishim provides no 32-bit driver libraries")
	r := ask(t, n, "SLURM_STEP_GPUS=0")
	r.Site.Capabilities = []string{"video"}
	if o := mustGive(t, r); o.mounts[private+"/lib/libnvcuvid.so."+version] == "" || o.mounts[private+"/lib/libcuda.so."+version] != "" {
		t.Error("the site's default does not count")
	}
}

// The user's choice overrides the image's, which overrides the site's.
func TestWhoseCapabilities(t *testing.T) {
	n := eight(t)
	r := ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES=compute")
	r.Site.Capabilities = []string{"video"}
	has := func(library string) bool { return mustGive(t, r).mounts[private+"/lib/"+library+".so."+version] != "" }
	if !has("libcuda") || has("libnvcuvid") {
		t.Error("the image's variable does not count before the site")
	}
	r.Capabilities = []string{"utility"}
	if has("libcuda") || !has("libnvidia-ml") {
		t.Error("the user does not count before the image")
	}
	r.Capabilities, r.Env = nil, r.Env[:1]
	if has("libcuda") || !has("libnvcuvid") {
		t.Error("the site does not count")
	}
	r.Site.Vendors = []string{"amd"}
	if o := mustGive(t, r); len(o.Edits) > 0 {
		t.Errorf("a vendor that is off gives %v", o.Edits)
	}
}

// If the image has the directories, files go there, and programs go over those of the
// image.
func TestPlacesInImage(t *testing.T) {
	r := ask(t, eight(t), "SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES=all")
	image := fakenode.Image(t, "2.31")
	image.Dir("/etc/OpenCL/vendors")
	image.Dir("/etc/vulkan/icd.d")
	image.File("/usr/bin/nvidia-smi", "old")
	for i := range mostNeighbours + 1 {
		image.File(fmt.Sprintf("/usr/local/bin/tool%d", i), "")
	}
	r.Image = image.Tree()
	o := mustGive(t, r)
	for _, path := range []string{"/etc/OpenCL/vendors/nvidia.icd", "/etc/vulkan/icd.d/nvidia_icd.json", "/usr/bin/nvidia-smi", private + "/bin/nvidia-debugdump"} {
		if o.mounts[path] == "" {
			t.Errorf("%s is not given", path)
		}
	}
	if _, ok := o.env["OCL_ICD_VENDORS"]; ok {
		t.Error("OCL_ICD_VENDORS is set for a directory that is searched anyway")
	}
	says(t, strings.Join(o.prepend, " "), "PATH="+private+"/bin")
}

// The driver is found wherever it is, but only the version of the kernel module.
func TestWhereTheDriverIs(t *testing.T) {
	for _, dir := range []string{"/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu/nvidia/current", "/opt/nvidia/lib"} {
		n := fakenode.New(t)
		n.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: version, LibDir: dir})
		o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0"))
		wants(t, dir, o.mounts[private+"/lib/libcuda.so."+version], n.Path(dir+"/libcuda.so."+version))
	}

	n := fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: version, LibDir: "/usr/lib64", Root: "/run/nvidia/driver"})
	r := ask(t, n, "SLURM_STEP_GPUS=0")
	r.Site.DriverRoot = "/run/nvidia/driver"
	o := mustGive(t, r)
	wants(t, "in a driver container", o.mounts[private+"/lib/libcuda.so."+version], n.Path("/run/nvidia/driver/usr/lib64/libcuda.so."+version))
	wants(t, "nvidia-smi", o.mounts["/usr/local/bin/nvidia-smi"], n.Path("/run/nvidia/driver/usr/bin/nvidia-smi"))

	// There are two versions: the newer is installed for the next boot, and in the
	// cache.
	n = fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: version, LibDir: "/usr/lib/x86_64-linux-gnu"})
	n.NVIDIA(fakenode.NVIDIA{Driver: "560.28.03", LibDir: "/usr/lib64"})
	n.File("/usr/lib/x86_64-linux-gnu/libcuda.so.560.28.03", "")
	n.File("/sys/module/nvidia/version", version+"\n")
	o = mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0"))
	for _, name := range o.mounted(private + "/lib") {
		if !strings.HasSuffix(name, version) && !strings.HasPrefix(name, "libnvidia-egl-") {
			t.Errorf("%s is given", name)
		}
	}

	// The kernel module is there, the rest is not.
	n = fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: version})
	o = mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0"))
	says(t, strings.Join(o.Warnings, "\n"), "its libraries are not on this host: looked for libcuda.so."+version)
	wants(t, "GPUs", o.gpus(), "0")
	// The version is read from the other place.
	n.Remove("/sys/module/nvidia/version")
	says(t, strings.Join(mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0")).Warnings, "\n"), "libcuda.so."+version)
}

func TestFeatures(t *testing.T) {
	n := eight(t)
	n.Device("/dev/gdrdrv", 500, 0)
	n.Device("/dev/nvidia-fs0", 501, 0)
	n.Device("/dev/infiniband/uverbs0", 231, 192)
	n.Device("/dev/infiniband/rdma_cm", 10, 58)
	n.Device("/dev/infiniband/umad0", 231, 0)
	n.File("/etc/cufile.json", "{}")
	n.Dir("/run/udev")
	for variable, devices := range map[string]string{
		"NVIDIA_GDRCOPY":  "gdrdrv",
		"NVIDIA_GDS":      "nvidia-fs0",
		"NVIDIA_MOFED":    "infiniband/rdma_cm infiniband/uverbs0",
		"NVIDIA_NVSWITCH": "nvidia-nvswitch0 nvidia-nvswitch1 nvidia-nvswitch2 nvidia-nvswitch3 nvidia-nvswitch4 nvidia-nvswitch5 nvidia-nvswitchctl",
	} {
		o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", variable+"=enabled"))
		wants(t, variable, strings.Join(o.devices[4:], " "), devices)
		if given := o.mounts["/etc/cufile.json"] != "" && o.mounts["/run/udev"] != ""; given != (variable == "NVIDIA_GDS") {
			t.Errorf("%s: cufile.json given: %v", variable, given)
		}
		o = mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", variable+"=1"))
		wants(t, variable+"=1", strings.Join(o.devices[4:], " "), "")
	}
	r := ask(t, n, "SLURM_STEP_GPUS=0")
	r.Site.Features = []string{"gdrcopy"}
	wants(t, "by the site", strings.Join(mustGive(t, r).devices[4:], " "), "gdrdrv")
	r.Site.Features = []string{"gdr"}
	says(t, refused(t, r), "names the unknown feature gdr; known are gdrcopy")
	n.Deny("/dev/gdrdrv", unix.EPERM, 0)
	says(t, strings.Join(mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0", "NVIDIA_GDRCOPY=enabled")).Warnings, "\n"), "NVIDIA_GDRCOPY is enabled, but")
}

func TestIMEXChannels(t *testing.T) {
	n := eight(t)
	for i := range 3 {
		n.Device(fmt.Sprintf("/dev/nvidia-caps-imex-channels/channel%d", i), 507, i)
	}
	n.Deny("/dev/nvidia-caps-imex-channels/channel1", unix.EPERM, 0)
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0"))
	wants(t, "under Slurm", strings.Join(o.devices[4:], " "), "nvidia-caps-imex-channels/channel0 nvidia-caps-imex-channels/channel2")
	for asked, want := range map[string]string{"": "", "2": " nvidia-caps-imex-channels/channel2", "all": " nvidia-caps-imex-channels/channel0 nvidia-caps-imex-channels/channel2"} {
		r := ask(t, n, "NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_IMEX_CHANNELS="+asked)
		r.Slurm = false
		wants(t, "asked "+asked, strings.Join(mustGive(t, r).devices, " "), "nvidiactl nvidia-uvm nvidia-uvm-tools nvidia4"+want)
	}
}

func TestSiteExtras(t *testing.T) {
	n := eight(t)
	n.Device("/dev/knem", 10, 1)
	n.File("/etc/site.conf", "x")
	r := ask(t, n, "SLURM_STEP_GPUS=0")
	r.Site = Site{Devices: []string{"/dev/knem", "/dev/none"}, Files: []string{"/etc/site.conf", "/none"}, Firmware: true, MPSDir: "/run/mps"}
	n.Dir("/run/mps")
	o := mustGive(t, r)
	if !slices.Contains(o.devices, "knem") || o.mounts["/etc/site.conf"] == "" || o.mounts["/none"] != "" {
		t.Errorf("devices %v, mounts %v", o.devices, names(o.mounts))
	}
	wants(t, "firmware", o.mounts["/lib/firmware/nvidia/"+version+"/gsp_ga10x.bin"], n.Path("/lib/firmware/nvidia/"+version+"/gsp_ga10x.bin"))
	wants(t, "MPS", o.mounts["/run/mps"], n.Path("/run/mps"))
	wants(t, "MPS variable", o.env["CUDA_MPS_PIPE_DIRECTORY"], "/run/mps")
	r.Env = nil
	if o := mustGive(t, r); len(o.Edits) > 0 {
		t.Errorf("a task without GPUs gets %v", o.Edits)
	}
}

// Anyone can create the directory of MPS's pipes in /tmp: another user's is not given.
func TestForeignMPSDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can create files of another user; CI runs as root")
	}
	n := eight(t)
	n.Dir("/tmp/nvidia-mps")
	if err := os.Chown(n.Path("/tmp/nvidia-mps"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	o := mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0"))
	if o.mounts["/tmp/nvidia-mps"] != "" || !strings.Contains(strings.Join(o.Warnings, "\n"), "belongs to uid 12345") {
		t.Errorf("mounted from %q; warnings %q", o.mounts["/tmp/nvidia-mps"], o.Warnings)
	}
}
