package doctor

import (
	"path/filepath"
	"strings"
)

func gpuChecks() []Check {
	return []Check{
		{"nvidia", "NVIDIA's driver", nvidia},
		{"cdi", "specifications of CDI", cdi},
		{"amd", "device nodes of AMD's and Intel's GPUs", render},
	}
}

// nvidia compares the kernel's driver with its libraries.
func nvidia(p *Patient) []Finding {
	data, err := p.Host.ReadFile("/proc/driver/nvidia/version")
	if err != nil {
		return skip("no NVIDIA driver is loaded")
	}
	version := driverVersion(string(data))
	if version == "" {
		return found(Warn, "/proc/driver/nvidia/version has no version", "")
	}
	var findings []Finding
	libraries := p.driverLibraries()
	switch {
	case len(libraries) == 0:
		findings = found(Fail, "the driver "+version+" is loaded, and libcuda.so is in none of the usual directories", "install the driver's libraries of that version (libnvidia-compute, or nvidia-driver-libs)")
	case !contains(libraries, version):
		findings = found(Fail, "the kernel has driver "+version+", and the libraries are "+strings.Join(libraries, ", "), "install libraries of version "+version+", or reboot into the driver that is installed")
	default:
		findings = ok("NVIDIA's driver " + version + " and its libraries fit")
	}
	if !p.Host.Exists("/dev/nvidia-uvm") {
		findings = append(findings, Finding{
			Status: Warn, What: "/dev/nvidia-uvm is missing: CUDA fails in containers until somebody makes it",
			Fix: "nvidia-modprobe -u -c=0 at boot, or run nvidia-persistenced",
		})
	}
	return findings
}

// driverVersion returns the version behind "Kernel Module".
func driverVersion(text string) string {
	_, rest, _ := strings.Cut(text, "Kernel Module")
	for _, word := range strings.Fields(rest) {
		if word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// driverLibraries returns the versions of libcuda.so on this host.
func (p *Patient) driverLibraries() []string {
	var versions []string
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/x86_64-linux-gnu/nvidia/current"} {
		for _, name := range p.Host.Names(dir) {
			version, is := strings.CutPrefix(name, "libcuda.so.")
			if is && strings.Contains(version, ".") && !contains(versions, version) {
				versions = append(versions, version)
			}
		}
	}
	return versions
}

// cdi looks for paths in specifications that are gone.
func cdi(p *Patient) []Finding {
	var findings []Finding
	files := 0
	for _, dir := range p.Config.GPU.CDI.Dirs {
		for _, name := range p.Host.Names(dir) {
			if ext := filepath.Ext(name); ext != ".json" && ext != ".yaml" && ext != ".yml" {
				continue
			}
			files++
			if gone := p.goneOf(filepath.Join(dir, name)); gone != "" {
				findings = append(findings, Finding{
					Status: Fail, What: filepath.Join(dir, name) + " names " + gone + ", which this host does not have",
					Fix: "nvidia-ctk cdi generate --output=" + filepath.Join(dir, name) + ", after each update of the driver (nvidia-cdi-refresh.service); or gpu.cdi.repair",
				})
			}
		}
	}
	switch {
	case len(findings) > 0:
		return findings
	case files == 0:
		return skip("there are no specifications: GPUs are found without them")
	}
	return ok("all paths in specifications of CDI exist")
}

// goneOf returns the first path of the host in a specification that does not exist.
func (p *Patient) goneOf(path string) string {
	data, err := p.Host.ReadFile(path)
	if err != nil {
		return path
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimLeft(line, " \t-{"), ":")
		key, value = strings.Trim(key, `" `), strings.Trim(value, "\", \t\r\n}")
		if key != "hostPath" && (key != "path" || !strings.HasPrefix(value, "/dev/")) {
			continue
		}
		if strings.HasPrefix(value, "/") && !p.Host.Exists(value) {
			return value
		}
	}
	return ""
}

// render opens the device nodes as the user.
func render(p *Patient) []Finding {
	nodes := []string{}
	if p.Host.Exists("/dev/kfd") {
		nodes = append(nodes, "/dev/kfd")
	}
	for _, name := range p.Host.Names("/dev/dri") {
		if strings.HasPrefix(name, "renderD") {
			nodes = append(nodes, "/dev/dri/"+name)
		}
	}
	if len(nodes) == 0 {
		return skip("this host has no /dev/kfd and no /dev/dri/renderD*")
	}
	if err := p.Do("open", nodes...); err != nil {
		return found(Warn, "user "+p.User+": "+err.Error(), "a udev rule with MODE=\"0666\", or the groups video and render for the users; outside of a job Slurm's cgroup does not count")
	}
	return ok("user " + p.User + " can open " + strings.Join(nodes, " "))
}
