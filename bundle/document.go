package bundle

import (
	"encoding/json"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A document is config.json, arranged for fast decoding. encoding/json prepares for every field of
// every type below the one that it reads, whether present or not. The specification has two
// thousand fields, and preparing for them takes longer than the rest of Load. So properties that
// few configurations have are decoded separately, and only if present.
type document struct {
	specs.Spec

	Process rare[processDocument] `json:"process"`
	Hooks   rare[specs.Hooks]     `json:"hooks"`
	Linux   rare[linuxDocument]   `json:"linux"`
	Solaris rare[specs.Solaris]   `json:"solaris"`
	Windows rare[specs.Windows]   `json:"windows"`
	VM      rare[specs.VM]        `json:"vm"`
	ZOS     rare[specs.ZOS]       `json:"zos"`
	FreeBSD rare[specs.FreeBSD]   `json:"freebsd"`
}

type processDocument struct {
	specs.Process

	ConsoleSize     rare[specs.Box]             `json:"consoleSize"`
	Scheduler       rare[specs.Scheduler]       `json:"scheduler"`
	IOPriority      rare[specs.LinuxIOPriority] `json:"ioPriority"`
	ExecCPUAffinity rare[specs.CPUAffinity]     `json:"execCPUAffinity"`
}

type linuxDocument struct {
	specs.Linux

	Resources    rare[resourcesDocument]                `json:"resources"`
	Devices      rare[[]specs.LinuxDevice]              `json:"devices"`
	NetDevices   rare[map[string]specs.LinuxNetDevice]  `json:"netDevices"`
	Seccomp      rare[specs.LinuxSeccomp]               `json:"seccomp"`
	IntelRdt     rare[specs.LinuxIntelRdt]              `json:"intelRdt"`
	MemoryPolicy rare[specs.LinuxMemoryPolicy]          `json:"memoryPolicy"`
	Personality  rare[specs.LinuxPersonality]           `json:"personality"`
	TimeOffsets  rare[map[string]specs.LinuxTimeOffset] `json:"timeOffsets"`
}

type resourcesDocument struct {
	specs.LinuxResources

	Memory         rare[specs.LinuxMemory]          `json:"memory"`
	CPU            rare[specs.LinuxCPU]             `json:"cpu"`
	Pids           rare[specs.LinuxPids]            `json:"pids"`
	BlockIO        rare[specs.LinuxBlockIO]         `json:"blockIO"`
	HugepageLimits rare[[]specs.LinuxHugepageLimit] `json:"hugepageLimits"`
	Network        rare[specs.LinuxNetwork]         `json:"network"`
	Rdma           rare[map[string]specs.LinuxRdma] `json:"rdma"`
}

// rare is a property that encoding/json does not prepare for.
type rare[T any] struct{ value *T }

// UnmarshalJSON reads the property. A property that occurs twice is merged, as with any other type.
func (r *rare[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if r.value == nil {
		r.value = new(T)
	}
	return json.Unmarshal(data, r.value)
}

// read returns the value, or the zero value of its type.
func (r rare[T]) read() (value T) {
	if r.value != nil {
		value = *r.value
	}
	return value
}

func (d *document) spec() *specs.Spec {
	spec := d.Spec
	if p := d.Process.value; p != nil {
		spec.Process = p.process()
	}
	if l := d.Linux.value; l != nil {
		spec.Linux = l.linux()
	}
	spec.Hooks = d.Hooks.value
	spec.Solaris, spec.Windows, spec.VM = d.Solaris.value, d.Windows.value, d.VM.value
	spec.ZOS, spec.FreeBSD = d.ZOS.value, d.FreeBSD.value
	return &spec
}

func (d *processDocument) process() *specs.Process {
	process := d.Process
	process.ConsoleSize, process.Scheduler = d.ConsoleSize.value, d.Scheduler.value
	process.IOPriority, process.ExecCPUAffinity = d.IOPriority.value, d.ExecCPUAffinity.value
	return &process
}

func (d *linuxDocument) linux() *specs.Linux {
	linux := d.Linux
	if r := d.Resources.value; r != nil {
		linux.Resources = r.resources()
	}
	linux.Devices, linux.NetDevices, linux.TimeOffsets = d.Devices.read(), d.NetDevices.read(), d.TimeOffsets.read()
	linux.Seccomp, linux.IntelRdt = d.Seccomp.value, d.IntelRdt.value
	linux.MemoryPolicy, linux.Personality = d.MemoryPolicy.value, d.Personality.value
	return &linux
}

func (d *resourcesDocument) resources() *specs.LinuxResources {
	resources := d.LinuxResources
	resources.Memory, resources.CPU, resources.Pids = d.Memory.value, d.CPU.value, d.Pids.value
	resources.BlockIO, resources.Network = d.BlockIO.value, d.Network.value
	resources.HugepageLimits, resources.Rdma = d.HugepageLimits.read(), d.Rdma.read()
	return &resources
}
