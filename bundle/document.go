package bundle

import (
	"encoding/json"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A document is config.json, arranged for fast decoding. encoding/json prepares for every field of
// every type below the one that it reads, whether present or not. The specification has two
// thousand fields, and preparing for them takes longer than the rest of Load. So properties that
// few configurations have are decoded separately, and only if present. The structs of the
// specification are not embedded: encoding/json would compare their fields with ours.
type document struct {
	Version     string                `json:"ociVersion"`
	Process     rare[processDocument] `json:"process"`
	Root        *specs.Root           `json:"root"`
	Hostname    string                `json:"hostname"`
	Domainname  string                `json:"domainname"`
	Mounts      []specs.Mount         `json:"mounts"`
	Hooks       rare[specs.Hooks]     `json:"hooks"`
	Annotations map[string]string     `json:"annotations"`
	Linux       rare[linuxDocument]   `json:"linux"`
	Solaris     rare[specs.Solaris]   `json:"solaris"`
	Windows     rare[specs.Windows]   `json:"windows"`
	VM          rare[specs.VM]        `json:"vm"`
	ZOS         rare[specs.ZOS]       `json:"zos"`
	FreeBSD     rare[specs.FreeBSD]   `json:"freebsd"`
}

type processDocument struct {
	Terminal        bool                          `json:"terminal"`
	ConsoleSize     rare[specs.Box]               `json:"consoleSize"`
	User            specs.User                    `json:"user"`
	Args            []string                      `json:"args"`
	CommandLine     string                        `json:"commandLine"`
	Env             []string                      `json:"env"`
	Cwd             string                        `json:"cwd"`
	Capabilities    rare[specs.LinuxCapabilities] `json:"capabilities"`
	Rlimits         rare[[]specs.POSIXRlimit]     `json:"rlimits"`
	NoNewPrivileges bool                          `json:"noNewPrivileges"`
	ApparmorProfile string                        `json:"apparmorProfile"`
	OOMScoreAdj     *int                          `json:"oomScoreAdj"`
	Scheduler       rare[specs.Scheduler]         `json:"scheduler"`
	SelinuxLabel    string                        `json:"selinuxLabel"`
	IOPriority      rare[specs.LinuxIOPriority]   `json:"ioPriority"`
	ExecCPUAffinity rare[specs.CPUAffinity]       `json:"execCPUAffinity"`
}

type linuxDocument struct {
	UIDMappings       rare[[]specs.LinuxIDMapping]           `json:"uidMappings"`
	GIDMappings       rare[[]specs.LinuxIDMapping]           `json:"gidMappings"`
	Sysctl            map[string]string                      `json:"sysctl"`
	Resources         rare[resourcesDocument]                `json:"resources"`
	CgroupsPath       string                                 `json:"cgroupsPath"`
	Namespaces        []specs.LinuxNamespace                 `json:"namespaces"`
	Devices           rare[[]specs.LinuxDevice]              `json:"devices"`
	NetDevices        rare[map[string]specs.LinuxNetDevice]  `json:"netDevices"`
	Seccomp           rare[specs.LinuxSeccomp]               `json:"seccomp"`
	RootfsPropagation string                                 `json:"rootfsPropagation"`
	MaskedPaths       []string                               `json:"maskedPaths"`
	ReadonlyPaths     []string                               `json:"readonlyPaths"`
	MountLabel        string                                 `json:"mountLabel"`
	IntelRdt          rare[specs.LinuxIntelRdt]              `json:"intelRdt"`
	MemoryPolicy      rare[specs.LinuxMemoryPolicy]          `json:"memoryPolicy"`
	Personality       rare[specs.LinuxPersonality]           `json:"personality"`
	TimeOffsets       rare[map[string]specs.LinuxTimeOffset] `json:"timeOffsets"`
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

// MarshalJSON writes the property. With it, encoding/json does not look into this type, even to read.
func (r rare[T]) MarshalJSON() ([]byte, error) { return json.Marshal(r.value) }

// read returns the value, or the zero value of its type.
func (r rare[T]) read() (value T) {
	if r.value != nil {
		value = *r.value
	}
	return value
}

func (d *document) spec() *specs.Spec {
	spec := &specs.Spec{
		Version: d.Version, Root: d.Root, Hostname: d.Hostname, Domainname: d.Domainname,
		Mounts: d.Mounts, Hooks: d.Hooks.value, Annotations: d.Annotations,
		Solaris: d.Solaris.value, Windows: d.Windows.value, VM: d.VM.value, ZOS: d.ZOS.value, FreeBSD: d.FreeBSD.value,
	}
	if p := d.Process.value; p != nil {
		spec.Process = p.process()
	}
	if l := d.Linux.value; l != nil {
		spec.Linux = l.linux()
	}
	return spec
}

func (d *processDocument) process() *specs.Process {
	return &specs.Process{
		Terminal: d.Terminal, ConsoleSize: d.ConsoleSize.value, User: d.User,
		Args: d.Args, CommandLine: d.CommandLine, Env: d.Env, Cwd: d.Cwd,
		Capabilities: d.Capabilities.value, Rlimits: d.Rlimits.read(), NoNewPrivileges: d.NoNewPrivileges,
		ApparmorProfile: d.ApparmorProfile, OOMScoreAdj: d.OOMScoreAdj, Scheduler: d.Scheduler.value,
		SelinuxLabel: d.SelinuxLabel, IOPriority: d.IOPriority.value, ExecCPUAffinity: d.ExecCPUAffinity.value,
	}
}

func (d *linuxDocument) linux() *specs.Linux {
	linux := &specs.Linux{
		UIDMappings: d.UIDMappings.read(), GIDMappings: d.GIDMappings.read(), Sysctl: d.Sysctl,
		CgroupsPath: d.CgroupsPath, Namespaces: d.Namespaces, Devices: d.Devices.read(), NetDevices: d.NetDevices.read(),
		Seccomp: d.Seccomp.value, RootfsPropagation: d.RootfsPropagation,
		MaskedPaths: d.MaskedPaths, ReadonlyPaths: d.ReadonlyPaths, MountLabel: d.MountLabel, IntelRdt: d.IntelRdt.value,
		MemoryPolicy: d.MemoryPolicy.value, Personality: d.Personality.value, TimeOffsets: d.TimeOffsets.read(),
	}
	if r := d.Resources.value; r != nil {
		linux.Resources = r.resources()
	}
	return linux
}

func (d *resourcesDocument) resources() *specs.LinuxResources {
	resources := d.LinuxResources
	resources.Memory, resources.CPU, resources.Pids = d.Memory.value, d.CPU.value, d.Pids.value
	resources.BlockIO, resources.Network = d.BlockIO.value, d.Network.value
	resources.HugepageLimits, resources.Rdma = d.HugepageLimits.read(), d.Rdma.read()
	return &resources
}
