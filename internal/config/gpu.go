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
	Driver       string   `json:"driver"` // the root below which it is
	MPS          string   `json:"mps"`
	CDI          CDI      `json:"cdi"`
}

// CDI is what a site decides of the Container Device Interface.
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
			doc: `Whose GPUs are given. An empty list switches all off; devices that are
asked for by their CDI name are given all the same.`,
		},
		{
			key: "gpu.capabilities", users: true, value: &g.Capabilities,
			choices: []string{"compute", "utility", "video", "graphics", "display", "ngx", "all"},
			doc: `The parts of NVIDIA's driver that a container gets that does not ask by
NVIDIA_DRIVER_CAPABILITIES.`,
		},
		{
			key: "gpu.features", users: true, value: &g.Features, choices: []string{"gdrcopy", "gds", "mofed", "nvswitch"},
			doc: `Devices that go with NVIDIA's GPUs though the container does not ask for
them by NVIDIA_GDRCOPY, NVIDIA_GDS, NVIDIA_MOFED or NVIDIA_NVSWITCH.`,
		},
		{
			key: "gpu.isolate", users: true, value: &g.Isolate,
			doc: `Whether a task whose device cgroup allows more GPUs than its own variable
names gets only those. Without that it sees the others of its step too,
as CUDA IPC and NCCL between tasks need.`,
		},
		{
			key: "gpu.order", users: true, value: &g.Order, choices: []string{OrderPCI, OrderFile},
			doc: `How Slurm counts GPUs: by PCI address, as with AutoDetect in gres.conf,
or by the number of the device file, as where gres.conf lists files.`,
		},
		{
			key: "gpu.engines", value: &g.Engines,
			doc: `Whether containers of Docker, containerd and Podman get GPUs by
NVIDIA_VISIBLE_DEVICES and AMD_VISIBLE_DEVICES. Images set these, so that
an engine whose users are to ask for GPUs by themselves leaves it off.`,
		},
		{
			key: "gpu.devices", value: &g.Devices, check: checkDestination,
			doc: `Device nodes that go with any GPU, where the node has them and the task
may use them.`,
		},
		{
			key: "gpu.files", value: &g.Files, check: checkDestination,
			doc: `Files and directories that go with any GPU, read-only, where the node
has them.`,
		},
		{
			key: "gpu.firmware", users: true, value: &g.Firmware,
			doc: `Whether containers get the firmware of NVIDIA's GSP, which the kernel
loads by itself.`,
		},
		{
			key: "gpu.driver", value: &g.Driver, check: checkPath,
			doc: `The root directory of NVIDIA's driver: that of its container, such as
/run/nvidia/driver, where it has one.`,
		},
		{
			key: "gpu.mps", value: &g.MPS, check: checkDestination,
			doc: `The directory of the pipes of NVIDIA's MPS daemon.`,
		},
		{
			key: "gpu.cdi.dirs", value: &g.CDI.Dirs, check: checkDestination,
			doc: `Directories of CDI specifications. Where two describe a device, that of
the later directory counts.`,
		},
		{
			key: MayDevices, users: true, value: &g.CDI.Devices,
			doc: `CDI devices that every task gets that has GPUs, by qualified names such
as example.com/nic=all: what goes with a GPU. GPUs themselves are
Slurm's to give.`,
		},
		{
			key: "gpu.cdi.repair", users: true, value: &g.CDI.Repair,
			doc: `Whether a library that a specification of NVIDIA's names, and that is
gone after an update, is replaced by the driver's present one. Otherwise
the container does not start.`,
		},
	}
}
