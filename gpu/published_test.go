package gpu

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// published lists by name what NVIDIA's libnvidia-container (src/nvc_info.c,
// nvc_mount.c) and nvidia-container-toolkit (internal/discover, pkg/nvcdi; 1.19) give
// to containers.
var published = map[string][]string{
	"libraries": {
		"libnvidia-ml", "libnvidia-cfg", "libnvidia-nscq", "libcuda", "libcudadebugger", "libnvidia-opencl", "libnvidia-gpucomp",
		"libnvidia-ptxjitcompiler", "libnvidia-fatbinaryloader", "libnvidia-allocator", "libnvidia-compiler", "libnvidia-pkcs11",
		"libnvidia-pkcs11-openssl3", "libnvidia-nvvm", "libnvidia-nvvm70", "libnvidia-tileiras", "libvdpau_nvidia", "libnvidia-encode",
		"libnvidia-opticalflow", "libnvcuvid", "libnvidia-eglcore", "libnvidia-glcore", "libnvidia-tls", "libnvidia-glsi", "libnvidia-fbc",
		"libnvidia-ifr", "libnvidia-rtcore", "libnvoptix", "libGLX_nvidia", "libEGL_nvidia", "libGLESv2_nvidia", "libGLESv1_CM_nvidia",
		"libnvidia-glvkspirv", "libnvidia-cbl", "libnvidia-ngx", "libnvidia-egl-gbm", "libnvidia-egl-wayland", "libnvidia-egl-wayland2",
		"libnvidia-egl-xcb", "libnvidia-egl-xlib", "libnvidia-vulkan-producer", "libnvidia-api",
		"libGL", "libEGL", "libGLESv1_CM", "libGLESv2", "libGLX", "libGLdispatch", "libOpenGL", "libOpenCL",
		"libdxcore", "nvidia_drv", "libglxserver_nvidia", "libnvidia-gtk2", "libnvidia-gtk3", "libnvidia-wfb",
	},
	"programs": {
		"nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nv-fabricmanager", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server",
		"nvidia-imex", "nvidia-imex-ctl", "nvidia-xconfig", "nvidia-modprobe", "nvidia-settings",
	},
	"devices": {
		"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia0", "/dev/nvidia-caps",
		"/dev/nvidia-caps-imex-channels", "/dev/dri", "/dev/gdrdrv", "/dev/nvidia-fs", "/dev/nvidia-nvswitch", "/dev/infiniband", "/dev/dxg",
	},
	"files": {
		"/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket", "/tmp/nvidia-mps", "/etc/cufile.json", "/run/udev",
		"/proc/driver/nvidia/params", "/proc/driver/nvidia/gpus", "/etc/nvidia/nvidia-application-profiles-rc.d",
		"10_nvidia.json", "15_nvidia_gbm.json", "10_nvidia_wayland.json", "09_nvidia_wayland2.json", "20_nvidia_xcb.json", "20_nvidia_xlib.json",
		"nvoptix.bin", "10-nvidia.conf", "nvidia-drm-outputclass.conf", "nvidia.icd", "nvidia_icd.json", "nvidia_layers.json", "gsp*.bin",
	},
	"hooks": {
		"create-symlinks", "update-ldcache", "enable-cuda-compat", "disable-device-node-modification", "update-application-profile", "chmod",
		"apply-cuda-memory-limits",
	},
	"variables": {
		"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_", "NVIDIA_DISABLE_REQUIRE", "NVIDIA_MIG_CONFIG_DEVICES",
		"NVIDIA_MIG_MONITOR_DEVICES", "NVIDIA_IMEX_CHANNELS", "NVIDIA_GDS", "NVIDIA_MOFED", "NVIDIA_GDRCOPY", "NVIDIA_NVSWITCH",
		"CUDA_VERSION", "NVIDIA_REQUIRE_JETPACK", "NVIDIA_CTK_LIBCUDA_DIR",
	},
	"capabilities": {"compute", "utility", "video", "graphics", "display", "ngx", "compat32"},
}

// Each of them is given, or docs/gpu.md lists it as not given, with a reason.
func TestPublishedLists(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "docs", "gpu.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(data), "\n## Not given\n")
	if !found {
		t.Fatal("docs/gpu.md has no section \"Not given\"")
	}
	not, _, _ := strings.Cut(rest, "\n## ")
	given := whatIsGiven(t)
	for kind, names := range published {
		for _, name := range names {
			isGiven, listed := slices.Contains(given[kind], name), strings.Contains(not, "`"+name+"`")
			switch {
			case !isGiven && !listed:
				t.Errorf("%s: %s is neither given, nor listed in docs/gpu.md with a reason", kind, name)
			case isGiven && listed:
				t.Errorf("%s: %s is given, and docs/gpu.md says that it is not", kind, name)
			}
		}
	}
	for line := range strings.Lines(not) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.TrimSpace(cells[2]) == "" {
			t.Errorf("without a reason: %s", line)
		}
	}
}

// whatIsGiven asks for everything on a host that has everything.
func whatIsGiven(t *testing.T) map[string][]string {
	t.Helper()
	n := eight(t)
	n.MIG(0, 8, 1)
	for _, d := range []string{"/dev/gdrdrv", "/dev/nvidia-fs0", "/dev/infiniband/uverbs0", "/dev/nvidia-caps-imex-channels/channel0"} {
		n.Device(d, 240, 0)
	}
	for _, lib := range published["libraries"] {
		n.File("/usr/lib/x86_64-linux-gnu/"+lib+".so."+version, fakenode.ELF{Soname: lib + ".so.1"}.String())
	}
	for _, program := range published["programs"] {
		n.File("/usr/bin/"+program, "")
	}
	for _, file := range published["files"] {
		if path.IsAbs(file) {
			if !n.Tree().Exists(file) {
				n.File(file, "")
			}
		}
	}
	for _, f := range configFiles("amd64") {
		n.File(path.Join("/usr/share", f.relative()), "")
	}
	r := ask(t, n, "SLURM_STEP_GPUS=4,5", "NVIDIA_DRIVER_CAPABILITIES=all", "NVIDIA_GDS=enabled", "NVIDIA_MOFED=enabled", "NVIDIA_GDRCOPY=enabled", "NVIDIA_NVSWITCH=enabled")
	o := mustGive(t, r)
	given := map[string][]string{"hooks": doneHere(t), "variables": named(t, published["variables"]), "capabilities": knownCapabilities()}
	for destination := range o.mounts {
		name := path.Base(destination)
		given["programs"] = append(given["programs"], name)
		given["files"] = append(given["files"], name, destination)
		if base, _, ok := strings.Cut(name, ".so"); ok {
			given["libraries"] = append(given["libraries"], base)
		}
	}
	for file := range o.files {
		given["files"] = append(given["files"], file, path.Dir(file))
	}
	o.devices = append(o.devices, mustGive(t, ask(t, n, "SLURM_STEP_GPUS=0")).devices...)
	for _, d := range o.devices {
		d = "/dev/" + d
		given["devices"] = append(given["devices"], d, path.Dir(d), strings.TrimRight(d, "0123456789"))
		if d == "/dev/nvidia4" {
			given["devices"] = append(given["devices"], "/dev/nvidia0")
		}
	}
	return given
}

// doneHere returns the hooks that need no program of NVIDIA's.
func doneHere(t *testing.T) (names []string) {
	t.Helper()
	for _, name := range published["hooks"] {
		found, err := recogniseHooks([]*cdi.Hook{{HookName: "createContainer", Path: "/usr/bin/nvidia-cdi-hook", Args: []string{"nvidia-cdi-hook", name}}})
		if err != nil {
			t.Fatal(err)
		}
		if found.others == nil {
			names = append(names, name)
		}
	}
	return names
}

// named returns the variables that the code of this package names; other tests show
// what they do.
func named(t *testing.T, variables []string) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range variables {
			if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(code), `"`+name+`"`) {
				names = append(names, name)
			}
		}
	}
	return names
}
