package fakenode

import (
	"fmt"
	"path"
	"strings"
)

// NVIDIA describes a host with NVIDIA's GPUs.
type NVIDIA struct {
	GPUs    int
	Driver  string // version; empty for a driver that is not loaded
	Model   string
	LibDir  string // of the driver's libraries; empty if they are not installed
	Root    string // directory with the driver's files, such as /run/nvidia/driver
	Control int    // number of NVSwitches, with their control device
	DRM     int    // added to the numbers of cards and render nodes
}

// DriverLibraries are most of the libraries in a driver's package.
var DriverLibraries = strings.Fields(`libcuda libcudadebugger libnvidia-ml libnvidia-cfg libnvidia-opencl libnvidia-gpucomp
	libnvidia-ptxjitcompiler libnvidia-allocator libnvidia-nvvm libnvidia-pkcs11 libnvidia-pkcs11-openssl3 libvdpau_nvidia
	libnvidia-encode libnvidia-opticalflow libnvcuvid libnvidia-eglcore libnvidia-glcore libnvidia-tls libnvidia-glsi
	libnvidia-fbc libnvidia-rtcore libnvoptix libGLX_nvidia libEGL_nvidia libGLESv2_nvidia libGLESv1_CM_nvidia
	libnvidia-glvkspirv libnvidia-ngx libnvidia-wayland-client libnvidia-gtk3 libnvidia-nscq`)

// UUID returns the UUID of GPU i.
func UUID(i int) string { return fmt.Sprintf("GPU-%08x-1111-2222-3333-444444444444", 0xa0000000+i) }

// Bus returns the PCI address of GPU i. The order on the bus is not the order of
// minors: GPU i has the minor Minor(i).
func Bus(i int) string { return fmt.Sprintf("0000:%02x:00.0", 0x10*(i+1)+7) }

// Minor returns the minor of GPU i, counted by PCI address. With four GPUs or more it
// differs from i, as on boards with several root complexes.
func Minor(i, gpus int) int {
	if gpus < 4 {
		return i
	}
	return (i + gpus/2) % gpus
}

// NVIDIA adds such GPUs, their driver and its files to the host.
func (n *Node) NVIDIA(c NVIDIA) {
	n.T.Helper()
	if c.Model == "" {
		c.Model = "NVIDIA A100-SXM4-80GB"
	}
	for i := range c.GPUs {
		n.gpu(c, i)
	}
	if c.GPUs > 0 {
		n.Device("/dev/nvidiactl", 195, 255)
		n.Device("/dev/nvidia-modeset", 195, 254)
		n.Device("/dev/nvidia-uvm", 510, 0)
		n.Device("/dev/nvidia-uvm-tools", 510, 1)
	}
	for i := range c.Control {
		n.Device("/dev/nvidia-nvswitchctl", 234, 255)
		n.Device(fmt.Sprintf("/dev/nvidia-nvswitch%d", i), 234, i)
	}
	if c.Driver != "" {
		n.File("/sys/module/nvidia/version", c.Driver+"\n")
		n.File("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  "+c.Driver+"  Release Build  (x)\nGCC version:\n")
		n.File("/proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\n")
	}
	if c.LibDir != "" {
		n.driverFiles(c)
	}
}

func (n *Node) gpu(c NVIDIA, i int) {
	n.T.Helper()
	minor := Minor(i, c.GPUs)
	n.Device(fmt.Sprintf("/dev/nvidia%d", minor), 195, minor)
	if c.Driver == "" {
		return
	}
	n.File("/proc/driver/nvidia/gpus/"+Bus(i)+"/information", fmt.Sprintf(
		"Model: \t\t %s\nIRQ:   \t\t 23\nGPU UUID: \t %s\nVideo BIOS: \t 92.00\nBus Type: \t PCIe\nBus Location: \t %s\nDevice Minor: \t %d\nGPU Excluded:\t No\n",
		c.Model, UUID(i), Bus(i), minor))
	n.drm(Bus(i), "0x10de", c.DRM+i+1, 128+c.DRM+i)
	n.File("/sys/bus/pci/devices/"+Bus(i)+"/device", "0x20b2\n")
}

// drm adds a card and a render node of a PCI device.
func (n *Node) drm(bus, vendor string, card, render int) {
	n.T.Helper()
	dir := "/sys/devices/pci0000:00/" + bus
	n.File(dir+"/vendor", vendor+"\n")
	n.Link("/sys/bus/pci/devices/"+bus, "../../../devices/pci0000:00/"+bus)
	names := []string{fmt.Sprintf("card%d", card)}
	if render > 0 {
		names = append(names, fmt.Sprintf("renderD%d", render))
	}
	for k, name := range names {
		n.Dir(dir + "/drm/" + name)
		n.Link("/sys/class/drm/"+name, "../../devices/pci0000:00/"+bus+"/drm/"+name)
		n.Link(dir+"/drm/"+name+"/device", "../..")
		n.Device("/dev/dri/"+name, 226, []int{card, render}[k])
		n.Link(fmt.Sprintf("/dev/dri/by-path/pci-%s-%s", bus, []string{"card", "render"}[k]), "../"+name)
	}
}

// driverFiles installs the driver's libraries, programs and configuration.
func (n *Node) driverFiles(c NVIDIA) {
	n.T.Helper()
	var cache []string
	for _, name := range DriverLibraries {
		soname := name + ".so.1"
		dir := path.Join(c.Root, c.LibDir)
		switch name {
		case "libGLX_nvidia", "libEGL_nvidia":
			soname = name + ".so.0"
		case "libnvidia-glcore", "libnvidia-eglcore", "libnvidia-rtcore", "libnvidia-tls", "libnvidia-glsi":
			soname = name + ".so." + c.Driver
		case "libnvidia-nvvm":
			soname = name + ".so.4"
		case "libvdpau_nvidia":
			dir += "/vdpau"
		}
		needs := map[string][]string{"libc.so.6": {"GLIBC_2.2.5", "GLIBC_2.17"}}
		if name == "libnvidia-pkcs11-openssl3" {
			needs = map[string][]string{"libc.so.6": {"GLIBC_2.34"}}
		}
		n.File(dir+"/"+name+".so."+c.Driver, ELF{Soname: soname, Needs: needs}.String())
		if soname != name+".so."+c.Driver {
			n.Link(dir+"/"+soname, name+".so."+c.Driver)
		}
		cache = append(cache, soname+" "+c.LibDir+"/"+soname)
	}
	n.File(path.Join(c.Root, c.LibDir, "libnvidia-egl-gbm.so.1.1.1"), ELF{Soname: "libnvidia-egl-gbm.so.1"}.String())
	for _, program := range []string{"nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"} {
		n.File(c.Root+"/usr/bin/"+program, "#!/bin/sh\n")
	}
	for _, file := range []string{
		"/etc/OpenCL/vendors/nvidia.icd", "/usr/share/glvnd/egl_vendor.d/10_nvidia.json", "/usr/share/vulkan/icd.d/nvidia_icd.json",
		"/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json", "/usr/share/nvidia/nvoptix.bin",
		"/lib/firmware/nvidia/" + c.Driver + "/gsp_ga10x.bin", "/run/nvidia-persistenced/socket",
	} {
		n.File(c.Root+file, "of the driver")
	}
	owner := &Node{n.T, n.Path(c.Root)}
	owner.LoaderCache(append(cache, "libc.so.6 /lib/libc.so.6")...)
}

// MIG divides GPU i, counted by PCI address, into MIG instances.
func (n *Node) MIG(i, gpus, parts int) {
	n.T.Helper()
	minor := Minor(i, gpus)
	minors := "config 1\nmonitor 2\n"
	// The driver lists all possible instances.
	for g := range 8 {
		for gi := range 8 {
			minors += fmt.Sprintf("gpu%d/gi%d/access %d\n", g, gi, capMinor(g, gi, -1))
			minors += fmt.Sprintf("gpu%d/gi%d/ci0/access %d\n", g, gi, capMinor(g, gi, 0))
		}
	}
	n.File("/proc/driver/nvidia-caps/mig-minors", minors)
	n.Device("/dev/nvidia-caps/nvidia-cap1", 508, 1)
	n.Device("/dev/nvidia-caps/nvidia-cap2", 508, 2)
	for gi := 1; gi <= parts; gi++ {
		n.File(fmt.Sprintf("/proc/driver/nvidia/capabilities/gpu%d/mig/gi%d/access", minor, gi), "DeviceFileMinor: 1\n")
		n.File(fmt.Sprintf("/proc/driver/nvidia/capabilities/gpu%d/mig/gi%d/ci0/access", minor, gi), "DeviceFileMinor: 1\n")
		for _, number := range n.MIGCaps(i, gpus, gi) {
			n.Device(number, 508, 0)
		}
	}
}

func capMinor(gpu, gi, ci int) int { return 3 + gpu*100 + gi*10 + ci + 1 }

// MIGCaps returns the device nodes of GPU instance gi of GPU i.
func (n *Node) MIGCaps(i, gpus, gi int) []string {
	minor := Minor(i, gpus)
	return []string{
		fmt.Sprintf("/dev/nvidia-caps/nvidia-cap%d", capMinor(minor, gi, -1)),
		fmt.Sprintf("/dev/nvidia-caps/nvidia-cap%d", capMinor(minor, gi, 0)),
	}
}

// AMD adds AMD's GPUs to the host, each split into the given number of partitions, and
// a server's VGA as card0.
func (n *Node) AMD(gpus, partitions int) {
	n.T.Helper()
	n.drm("0000:03:00.0", "0x1a03", 0, 0)
	n.Device("/dev/kfd", 235, 0)
	const topology = "/sys/devices/virtual/kfd/kfd/topology/nodes"
	n.Link("/sys/class/kfd/kfd", "../../devices/virtual/kfd/kfd")
	n.File(topology+"/0/properties", "cpu_cores_count 96\nsimd_count 0\ndrm_render_minor 0\nunique_id 0\n")
	for g := range gpus {
		for k := range partitions {
			i := g*partitions + k
			n.drm(fmt.Sprintf("0001:%02x:%02x.0", g+1, k), "0x1002", i+1, 128+i)
			n.File(fmt.Sprintf("%s/%d/properties", topology, i+1), fmt.Sprintf(
				"cpu_cores_count 0\nsimd_count 304\ndrm_render_minor %d\nunique_id %d\nlocation_id 256\ndomain 1\n", 128+i, uint64(0xabcd000000000000)+uint64(g)))
		}
	}
}

// Intel adds Intel's GPUs to the host, and a processor's own.
func (n *Node) Intel(gpus int) {
	n.T.Helper()
	for i := range gpus {
		// The render nodes are in the reverse order of the bus.
		n.drm(fmt.Sprintf("0000:%02x:00.0", 0x50+i), "0x8086", 20+i, 190-i)
	}
	n.drm("0000:00:02.0", "0x8086", 10, 180)
}
