package scrun

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// engineFiles are what an engine binds into every container: they describe the
// machine that the engine is on, and the node has its own.
var engineFiles = []string{
	"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/dev/shm", "/dev/mqueue",
	"/var/run/.containerenv", "/var/run/secrets",
}

// remoteSpec is the container's configuration as the node is to get it. What is
// about the engine's machine is taken out: its namespaces and cgroup by path,
// its limits, which are the job's now, its hooks and its files.
func remoteSpec(spec *specs.Spec, id, rootfs string, shared []string) (*specs.Spec, error) {
	remote := *spec
	remote.Hooks = nil
	remote.Root = &specs.Root{Path: rootfs, Readonly: spec.Root != nil && spec.Root.Readonly}
	mounts, err := remoteMounts(spec.Mounts, id, shared)
	if err != nil {
		return nil, err
	}
	remote.Mounts = mounts
	if spec.Process != nil {
		process := *spec.Process
		process.Env = slices.DeleteFunc(slices.Clone(process.Env), isOption)
		if hasGPUHook(spec) { // they are the engine's numbers of GPUs of its own machine; the job has others
			process.Env = slices.DeleteFunc(process.Env, func(entry string) bool { return strings.HasPrefix(entry, visibleDevices+"=") })
		}
		remote.Process = &process
	}
	if spec.Linux != nil {
		linux := *spec.Linux
		linux.CgroupsPath, linux.Resources = "", nil
		linux.Namespaces = slices.DeleteFunc(slices.Clone(linux.Namespaces), func(n specs.LinuxNamespace) bool { return n.Path != "" })
		linux.Devices = slices.DeleteFunc(slices.Clone(linux.Devices), func(d specs.LinuxDevice) bool { return strings.HasPrefix(d.Path, nvidiaNodes) })
		remote.Linux = &linux
	}
	return &remote, nil
}

// isOption tells whether the variable was an option for the job.
func isOption(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	variable, ok := strings.CutPrefix(name, variablePrefix)
	return ok && slices.ContainsFunc(options, func(o option) bool { return o.variable == variable })
}

// remoteMounts leaves out the engine's own files, and GPUs, which a rootless Podman
// binds: the job has GPUs of its own. Every other bind mount is a volume: it must lie
// where the site says that the nodes see the same.
func remoteMounts(mounts []specs.Mount, id string, shared []string) ([]specs.Mount, error) {
	var kept []specs.Mount
	for _, m := range mounts {
		if !bundle.IsBind(m) {
			kept = append(kept, m)
			continue
		}
		if ofEngine(m, id) || strings.HasPrefix(m.Destination, nvidiaNodes) {
			continue
		}
		if !ofEveryNode(m.Source) && !isShared(m.Source, shared) {
			return nil, fmt.Errorf("mount %s at %s: %w: it is not below any of %s", m.Source, m.Destination, ErrVolume, strings.Join(shared, ", "))
		}
		kept = append(kept, m)
	}
	return kept, nil
}

// ofEngine tells whether the engine made what is mounted: the id of the
// container is an element of its path, and it is one of those files.
func ofEngine(m specs.Mount, id string) bool {
	destination := path.Clean(m.Destination)
	if destination == "/dev/shm" || destination == "/dev/mqueue" {
		return true
	}
	return slices.Contains(strings.Split(m.Source, "/"), id) &&
		slices.ContainsFunc(engineFiles, func(f string) bool { return destination == f })
}

// ofEveryNode are the kernel's file systems, which every node has.
func ofEveryNode(source string) bool {
	return slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(dir string) bool { return source == dir || strings.HasPrefix(source, dir+"/") })
}

// isShared tells whether the path lies below one of the directories. Without
// any, the nodes share all.
func isShared(source string, shared []string) bool {
	if len(shared) == 0 {
		return true
	}
	source, err := filepath.EvalSymlinks(source)
	return err == nil && slices.ContainsFunc(shared, func(dir string) bool {
		return source == dir || strings.HasPrefix(source, strings.TrimSuffix(dir, "/")+"/")
	})
}

// outputVariables are what scrun(1) promises to the container.
func outputVariables(r *Record) []string {
	env := []string{
		"SCRUN_OCI_VERSION=" + specs.Version, "SCRUN_CONTAINER_ID=" + r.ID,
		"SCRUN_BUNDLE=" + r.Remote, "SCRUN_SUBMISSION_BUNDLE=" + r.Bundle,
		"SCRUN_SUBMISSION_CONFIG_FILE=" + filepath.Join(r.Bundle, "config.json"),
		"SCRUN_SUBMISSION_ROOTFS_PATH=" + r.Rootfs,
		"SCRUN_USER=" + r.Host.User, fmt.Sprint("SCRUN_USER_ID=", r.Host.UID), fmt.Sprint("SCRUN_GROUP_ID=", r.Host.GID),
		fmt.Sprint("SCRUN_PID=", r.Anchor.Pid),
	}
	for key, value := range r.Annotations {
		if strings.ContainsAny(key, "=\x00") || strings.Contains(value, "\x00") {
			continue // no variable can hold it
		}
		env = append(env, "SCRUN_ANNOTATION_"+key+"="+value)
	}
	if r.Log.File != "" {
		env = append(env, "SCRUN_LOG_FILE="+r.Log.File, "SCRUN_LOG_FORMAT="+r.Log.Format)
	}
	return env
}

// configFile is what the nodes read of a bundle; of a process that enters a container,
// the process.
const configFile = "config.json"

// writeConfig writes what the nodes read, and makes the directory.
func writeConfig(dir string, content any) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write bundle for the compute nodes: %w", err)
	}
	data, err := bundle.Marshal(content)
	if err == nil {
		// As Slurm writes it, which reads it next: bytes as they are.
		err = writeFile(filepath.Join(dir, configFile), []byte(bundle.DecodeBytes(string(data))), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write bundle for the compute nodes: %w", err)
	}
	return nil
}
