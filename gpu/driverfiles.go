package gpu

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// programsOf returns the driver's programs that belong to the capabilities.
func programsOf(caps capabilitySet) []string {
	var names []string
	if caps.any("utility") {
		names = append(names, "nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nv-fabricmanager", "nvidia-imex", "nvidia-imex-ctl")
	}
	if caps.any("compute") {
		names = append(names, "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
	}
	if caps.any("display") {
		names = append(names, "nvidia-xconfig")
	}
	return names
}

// mostNeighbours bounds how many files a directory of the image may hold for programs
// to be put beside them: each neighbour costs a mount if the image lacks the program.
const mostNeighbours = 64

// programs gives the driver's programs: over programs of the same name in the image,
// otherwise in /usr/local/bin, otherwise in a directory of ours in PATH.
func (p *plan) programs(d driver, caps capabilitySet) {
	e := bundle.Edit{From: "nvidia programs", Rule: driverCapabilities}
	beside := "/usr/local/bin"
	if !p.Image.IsDir(beside) || len(p.Image.Names(beside)) > mostNeighbours {
		beside = ""
	}
	for _, name := range programsOf(caps) {
		source := d.Files[name]
		if source == "" {
			continue
		}
		target := path.Join(p.private(), "bin", name)
		if inImage, ok := findIn(p.Image, name, "/usr/local/bin", "/usr/bin", "/usr/local/nvidia/bin"); ok {
			target = inImage
		} else if beside != "" {
			target = path.Join(beside, name)
		} else if len(e.EnvPrepend) == 0 {
			e.EnvDefault = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
			e.EnvPrepend = []string{"PATH=" + p.private() + "/bin"}
		}
		e.Mounts = append(e.Mounts, bindOf(source, target))
	}
	p.addForGlibc(e)
}

// findIn returns the path, without symbolic links, of a file in the first directory
// that has it.
func findIn(t *host.Tree, name string, dirs ...string) (string, bool) {
	for _, dir := range dirs {
		if resolved, err := t.File(path.Join(dir, name)); err == nil {
			return resolved, true
		}
	}
	return "", false
}

// sockets mounts the sockets of the driver's daemons at the same path. They are
// writable: connecting to a socket needs write permission.
func (p *plan) sockets(root *host.Tree, caps capabilitySet) {
	e := bundle.Edit{From: "nvidia sockets", Rule: driverCapabilities}
	give := func(t *host.Tree, path string) {
		if resolved, err := t.Resolve(path); err == nil {
			e.Mounts = append(e.Mounts, bundle.Bind(t.HostPath(resolved), path, "rbind", "nosuid", "nodev", "noexec", "rprivate"))
		}
	}
	if caps.any("utility") {
		give(root, "/run/nvidia-persistenced/socket")
		give(root, "/run/nvidia-fabricmanager/socket")
	}
	if caps.any("compute") {
		dir := "/tmp/nvidia-mps"
		if p.Site.MPSDir != "" {
			dir = p.Site.MPSDir
			if p.Host.IsDir(dir) {
				e.Env = append(e.Env, "CUDA_MPS_PIPE_DIRECTORY="+dir)
			}
		}
		if owner := p.Host.Owner(dir); owner <= 0 || owner == os.Geteuid() {
			give(p.Host, dir)
		} else { // anyone can make a directory in /tmp
			p.warn(fmt.Sprintf("NVIDIA's MPS is not available in the container: its directory %s belongs to uid %d", dir, owner))
		}
	}
	p.add(e)
}

// kernelParameters gives the kernel module's parameters with one change: the driver's
// libraries must not create device nodes.
func (p *plan) kernelParameters() {
	const params = "/proc/driver/nvidia/params"
	data, err := p.Host.ReadFile(params)
	if err != nil {
		return
	}
	changed := bytes.Replace(data, []byte("ModifyDeviceFiles: 1"), []byte("ModifyDeviceFiles: 0"), 1)
	if bytes.Equal(changed, data) {
		return
	}
	p.add(bundle.Edit{
		From: "nvidia parameters", Rule: "device nodes stay as they are (ModifyDeviceFiles: 0)",
		Files: []bundle.File{{Path: params, Data: changed, Optional: true}},
	})
}

// firmware gives the GSP's firmware if the site enables it. Usually it is not needed:
// the kernel loads it from the host's own files.
func (p *plan) firmware(root *host.Tree, version string) {
	if !p.Site.Firmware {
		return
	}
	e := bundle.Edit{From: "nvidia firmware", Rule: "the site's configuration"}
	dirs := []string{"/lib/firmware/updates", "/lib/firmware"}
	if release := p.Host.ReadLine("/proc/sys/kernel/osrelease"); release != "" {
		dirs = []string{"/lib/firmware/updates/" + release, "/lib/firmware/updates", "/lib/firmware/" + release, "/lib/firmware"}
	}
	if own := p.Host.ReadLine("/sys/module/firmware_class/parameters/path"); path.IsAbs(own) {
		dirs = append([]string{own}, dirs...)
	}
	given := map[string]bool{}
	for _, dir := range dirs {
		dir = path.Join(dir, "nvidia", version)
		for _, name := range sorted(root.Names(dir)) {
			if resolved, err := root.Resolve(path.Join(dir, name)); err == nil && strings.HasPrefix(name, "gsp") && !given[name] {
				given[name] = true
				e.Mounts = append(e.Mounts, bindOf(root.HostPath(resolved), path.Join(dir, name)))
			}
		}
	}
	p.add(e)
}

// A configFile is a file by which a loader in the image finds the driver.
type configFile struct {
	capability string
	dir        string // where it goes
	name       string
	variable   string // tells the loader about directories, for an image without dir
	standard   string // where the loader looks without the variable
}

// relative returns its path below /etc or a share directory: the host may have it in
// any of them.
func (f configFile) relative() string {
	return strings.TrimPrefix(strings.TrimPrefix(path.Join(f.dir, f.name), "/usr/share"), "/etc")
}

// configFiles lists the files that the driver's package and the container toolkit name.
func configFiles(arch string) []configFile {
	var all []configFile
	list := func(capability, dir, variable, standard string, names ...string) {
		for _, name := range names {
			all = append(all, configFile{capability, dir, name, variable, standard})
		}
	}
	icds := []string{"nvidia_icd.json", "nvidia_layers.json"}
	switch arch {
	case "amd64":
		icds = append(icds, "nvidia_icd.x86_64.json")
	case "arm64":
		icds = append(icds, "nvidia_icd.aarch64.json")
	}
	list("compute", "/etc/OpenCL/vendors", "OCL_ICD_VENDORS", "", "nvidia.icd")
	list("graphics", "/usr/share/glvnd/egl_vendor.d", "__EGL_VENDOR_LIBRARY_DIRS", "/etc/glvnd/egl_vendor.d", "10_nvidia.json")
	list("graphics", "/usr/share/egl/egl_external_platform.d", "__EGL_EXTERNAL_PLATFORM_CONFIG_DIRS", "/etc/egl/egl_external_platform.d",
		"15_nvidia_gbm.json", "10_nvidia_wayland.json", "09_nvidia_wayland2.json", "20_nvidia_xcb.json", "20_nvidia_xlib.json")
	list("graphics", "/etc/vulkan/icd.d", "XDG_DATA_DIRS", "", icds...)
	list("graphics", "/etc/vulkan/implicit_layer.d", "XDG_DATA_DIRS", "", "nvidia_layers.json")
	list("graphics", "/usr/share/nvidia", "", "", "nvoptix.bin")
	list("display", "/usr/share/X11/xorg.conf.d", "", "", "10-nvidia.conf", "nvidia-drm-outputclass.conf")
	return all
}

// configuration gives the configuration files. If the image has the directory, the file
// goes there. Otherwise it goes into a directory of ours that a variable names:
// creating a directory inside one of the image's costs a mount for each neighbour.
func (p *plan) configuration(d driver, caps capabilitySet, cards []card) {
	e := bundle.Edit{From: "nvidia configuration", Rule: driverCapabilities}
	for _, f := range configFiles(p.Arch) {
		if !caps.any(f.capability) {
			continue
		}
		target := path.Join(f.dir, f.name)
		source := d.Files[target]
		if source == "" {
			continue
		}
		if !p.Image.IsDir(f.dir) && f.variable != "" {
			target = path.Join(p.private(), "share", f.relative())
			p.nameDirectory(&e, f, path.Dir(target))
		}
		e.Mounts = append(e.Mounts, bindOf(source, target))
	}
	if caps.any("graphics") {
		p.gbmBackend(&e)
	}
	if caps.any("graphics", "display") {
		p.applicationProfile(&e, cards)
	}
	p.add(e)
}

// nameDirectory makes the loader search a directory after its own.
func (p *plan) nameDirectory(e *bundle.Edit, f configFile, dir string) {
	add := func(entry string) {
		if !slices.Contains(e.EnvPrepend, entry) && !slices.Contains(e.EnvDefault, entry) {
			e.EnvPrepend = append(e.EnvPrepend, entry)
		}
	}
	switch f.variable {
	case "OCL_ICD_VENDORS":
		// Set only if the variable is unset: it takes the place of the directory that
		// the image lacks.
		e.EnvDefault = append(e.EnvDefault, f.variable+"="+dir)
	case "XDG_DATA_DIRS":
		e.EnvDefault = unique(append(e.EnvDefault, "XDG_DATA_DIRS=/usr/local/share:/usr/share"))
		add("XDG_DATA_DIRS=" + p.private() + "/share")
	default:
		e.EnvDefault = unique(append(e.EnvDefault, f.variable+"="+f.standard))
		add(f.variable + "=" + dir)
	}
}

// gbmBackend makes Mesa's GBM find the driver's backend beside its own.
func (p *plan) gbmBackend(e *bundle.Edit) {
	if !slices.ContainsFunc(p.libraries, func(l library) bool { return strings.HasPrefix(l.file, "libnvidia-allocator.so.") }) {
		return
	}
	var own []string
	for _, dir := range linker.LibraryDirs(p.Arch) {
		if p.Image.IsDir(dir + "/gbm") {
			own = append(own, dir+"/gbm")
		}
	}
	if len(own) > 0 {
		e.EnvDefault = append(e.EnvDefault, "GBM_BACKENDS_PATH="+strings.Join(own, ":"))
	}
	e.EnvPrepend = append(e.EnvPrepend, "GBM_BACKENDS_PATH="+p.private()+"/lib/gbm")
}

// applicationProfile tells EGL and Vulkan which GPUs exist: otherwise they would probe
// all of the host's by number.
func (p *plan) applicationProfile(e *bundle.Edit, cards []card) {
	var mask uint64
	for _, c := range cards {
		if c.minor < 64 {
			mask |= 1 << c.minor
		}
	}
	if mask == 0 {
		return
	}
	e.Files = append(e.Files, bundle.File{
		Path: "/etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf",
		Data: []byte(profileOf(mask)),
	})
}
