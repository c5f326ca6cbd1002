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

// engineFiles are the files that an engine binds into every container. They describe the
// engine's host, so they are left out on the compute nodes.
var engineFiles = []string{
	"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/dev/shm", "/dev/mqueue",
	"/var/run/.containerenv", "/var/run/secrets",
}

// remoteSpec returns the container's configuration for the compute nodes. It leaves out what
// is about the engine's host: paths of namespaces and of the cgroup, limits, which are the
// job's now, hooks, and the engine's own files.
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
		if hasGPUHook(spec) { // these are numbers of GPUs on the engine's host; the job has others
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

// isOption reports whether the variable is a job option.
func isOption(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	variable, ok := strings.CutPrefix(name, variablePrefix)
	return ok && slices.ContainsFunc(options, func(o option) bool { return o.variable == variable })
}

// remoteMounts leaves out the engine's own files, and the GPUs that a rootless Podman binds:
// the job has GPUs of its own. Every other bind mount is a volume, whose source must be
// shared by the compute nodes, according to the site.
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

// ofEngine reports whether the source of the mount was made by the engine: the container's id
// is an element of its path, and the destination is one of engineFiles.
func ofEngine(m specs.Mount, id string) bool {
	destination := path.Clean(m.Destination)
	if destination == "/dev/shm" || destination == "/dev/mqueue" {
		return true
	}
	return slices.Contains(strings.Split(m.Source, "/"), id) &&
		slices.ContainsFunc(engineFiles, func(f string) bool { return destination == f })
}

// ofEveryNode reports whether the source is in a file system of the kernel, which every host
// has.
func ofEveryNode(source string) bool {
	return slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(dir string) bool { return source == dir || strings.HasPrefix(source, dir+"/") })
}

// isShared reports whether the path is below one of the shared directories. If none are
// listed, everything is shared.
func isShared(source string, shared []string) bool {
	if len(shared) == 0 {
		return true
	}
	source, err := filepath.EvalSymlinks(source)
	return err == nil && slices.ContainsFunc(shared, func(dir string) bool {
		return source == dir || strings.HasPrefix(source, strings.TrimSuffix(dir, "/")+"/")
	})
}

// outputVariables returns the variables that scrun(1) promises to the container.
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
			continue // it cannot be a variable
		}
		env = append(env, "SCRUN_ANNOTATION_"+key+"="+value)
	}
	if r.Log.File != "" {
		env = append(env, "SCRUN_LOG_FILE="+r.Log.File, "SCRUN_LOG_FORMAT="+r.Log.Format)
	}
	return env
}

// configFile is the file of a bundle that the compute nodes read. For a process that enters a
// container it holds just the process.
const configFile = "config.json"

// writeConfig makes the directory and writes configFile.
func writeConfig(dir string, content any) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write bundle for the compute nodes: %w", err)
	}
	data, err := bundle.Marshal(content)
	if err == nil {
		// In the form that Slurm itself writes, and reads next: with raw bytes.
		err = writeFile(filepath.Join(dir, configFile), []byte(bundle.DecodeBytes(string(data))), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write bundle for the compute nodes: %w", err)
	}
	return nil
}
