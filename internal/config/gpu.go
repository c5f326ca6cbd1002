package config

// GPU is what a site decides for containers that get GPUs.
type GPU struct {
	Vendors      []string `json:"vendors"`
	Capabilities []string `json:"capabilities"`
	Features     []string `json:"features"`
	Isolate      bool     `json:"isolate"`
	Order        string   `json:"order"` // OrderPCI or OrderFile
	Engines      bool     `json:"engines"`
	Devices      []string `json:"devices"` // absolute and clean, as all paths here
	Files        []string `json:"files"`
	Firmware     bool     `json:"firmware"`
	Driver       string   `json:"driver"` // root directory of the driver
	MPS          string   `json:"mps"`
	CDI          CDI      `json:"cdi"`
}

// CDI is what a site decides about the Container Device Interface.
type CDI struct {
	Dirs    []string `json:"dirs"`
	Devices []string `json:"devices"` // qualified names
	Repair  bool     `json:"repair"`
}

// The orders in which GPUs are counted.
const (
	OrderPCI  = "pci"
	OrderFile = "file"
)

func defaultGPU() GPU {
	return GPU{
		Vendors:      []string{"nvidia", "amd", "intel"},
		Capabilities: []string{"compute", "utility"},
		Features:     []string{},
		Order:        OrderPCI,
		Devices:      []string{},
		Files:        []string{},
		Driver:       "/",
		MPS:          "/tmp/nvidia-mps",
		CDI:          CDI{Dirs: []string{"/etc/cdi", "/var/run/cdi"}, Devices: []string{}},
	}
}

func (g *GPU) settings() []setting {
	return []setting{
		{
			key: "gpu.vendors", users: true, value: &g.Vendors, choices: []string{"nvidia", "amd", "intel"},
			doc: `The vendors whose GPUs containers get. An empty list disables all; devices
that are requested by CDI name are still given.`,
		},
		{
			key: "gpu.capabilities", users: true, value: &g.Capabilities,
			choices: []string{"compute", "utility", "video", "graphics", "display", "ngx", "all"},
			doc: `The parts of NVIDIA's driver that a container gets if it does not set
NVIDIA_DRIVER_CAPABILITIES.`,
		},
		{
			key: "gpu.features", users: true, value: &g.Features, choices: []string{"gdrcopy", "gds", "mofed", "nvswitch"},
			doc: `Devices that containers get together with NVIDIA's GPUs, even if they do
not set NVIDIA_GDRCOPY, NVIDIA_GDS, NVIDIA_MOFED or NVIDIA_NVSWITCH.`,
		},
		{
			key: "gpu.isolate", users: true, value: &g.Isolate,
			doc: `Whether a task gets only the GPUs that its own variable names, if its
device cgroup allows more. Otherwise it also sees the other GPUs of its
step, which CUDA IPC and NCCL between tasks need.`,
		},
		{
			key: "gpu.order", users: true, value: &g.Order, choices: []string{OrderPCI, OrderFile},
			doc: `How Slurm counts GPUs: by PCI address, as with AutoDetect in gres.conf,
or by the number of the device file, if gres.conf lists files.`,
		},
		{
			key: "gpu.engines", value: &g.Engines,
			doc: `Whether NVIDIA_VISIBLE_DEVICES and AMD_VISIBLE_DEVICES give GPUs to
containers of Docker, containerd and Podman. Many images set these
variables, so leave it off if only users should request GPUs.`,
		},
		{
			key: "gpu.devices", value: &g.Devices, check: checkDestination,
			doc: `Device nodes that every container with a GPU gets, if the host has them
and the task may use them.`,
		},
		{
			key: "gpu.files", value: &g.Files, check: checkDestination,
			doc: `Files and directories that every container with a GPU gets, read-only, if
the host has them.`,
		},
		{
			key: "gpu.firmware", users: true, value: &g.Firmware,
			doc: `Whether containers get the firmware of NVIDIA's GSP, which the kernel
loads by itself.`,
		},
		{
			key: "gpu.driver", value: &g.Driver, check: checkPath,
			doc: `The root directory of NVIDIA's driver. If the driver is in a container,
it is the root of that container, such as /run/nvidia/driver.`,
		},
		{
			key: "gpu.mps", value: &g.MPS, check: checkDestination,
			doc: `The directory of the pipes of NVIDIA's MPS daemon.`,
		},
		{
			key: "gpu.cdi.dirs", value: &g.CDI.Dirs, check: checkDestination,
			doc: `Directories of CDI specifications. If two specifications define the same
device, the one in the later directory counts.`,
		},
		{
			key: MayDevices, users: true, value: &g.CDI.Devices,
			doc: `CDI devices that every task with GPUs gets in addition, by qualified names
such as example.com/nic=all. It is not for GPUs, which Slurm allocates.`,
		},
		{
			key: "gpu.cdi.repair", users: true, value: &g.CDI.Repair,
			doc: `Whether a library in a CDI specification of NVIDIA's that is missing after
an update is replaced by the driver's current one. Otherwise the container
does not start.`,
		},
	}
}
