package scrun

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const id = "195cb59ef8aa13cf33d678d96e3851b7"

// What is about the engine's host is left out for the compute node, and everything else stays.
func TestRemoteSpec(t *testing.T) {
	limit := int64(5)
	spec := &specs.Spec{
		Version:     "1.2.0",
		Root:        &specs.Root{Path: "rootfs", Readonly: true},
		Hostname:    "box",
		Annotations: map[string]string{"a": "b"},
		Hooks:       &specs.Hooks{Poststop: []specs.Hook{{Path: "/proc/1/exe"}}},
		Process:     &specs.Process{Args: []string{"true"}, Cwd: "/x", Env: []string{"A=b", "SCRUN_PARTITION=p", "SCRUN_MINE=x", "SCRUNA=b"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/etc/hosts", Type: "bind", Source: "/run/user/1000/containers/" + id + "/userdata/hosts"},
			{Destination: "/etc/hostname", Source: "/var/lib/docker/containers/" + id + "/hostname", Options: []string{"rbind"}},
			{Destination: "/run/.containerenv", Type: "bind", Source: "/x/" + id + "/.containerenv"},
			{Destination: "/dev/shm", Type: "bind", Source: "/x/" + id + "/shm"},
			{Destination: "/etc/resolv.conf", Type: "bind", Source: "/home/alice/resolv.conf"},
			{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind"}},
			{Destination: "/data", Type: "bind", Source: "/home/alice/" + id},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/docker/" + id,
			Resources:   &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}},
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace, Path: "/run/netns/x"}},
			Devices:     []specs.LinuxDevice{{Path: "/dev/nvidia0"}, {Path: "/dev/fuse"}},
		},
	}
	remote, err := remoteSpec(spec, id, "/images/root", nil)
	if err != nil {
		t.Fatal(err)
	}
	var destinations []string
	for _, m := range remote.Mounts {
		destinations = append(destinations, m.Destination)
	}
	for what, ok := range map[string]bool{
		"hooks":       remote.Hooks == nil,
		"root":        remote.Root.Path == "/images/root" && remote.Root.Readonly,
		"environment": slices.Equal(remote.Process.Env, []string{"A=b", "SCRUN_MINE=x", "SCRUNA=b"}),
		"cgroup":      remote.Linux.CgroupsPath == "" && remote.Linux.Resources == nil,
		"namespaces":  len(remote.Linux.Namespaces) == 1 && remote.Linux.Namespaces[0].Type == specs.PIDNamespace,
		"devices":     len(remote.Linux.Devices) == 1 && remote.Linux.Devices[0].Path == "/dev/fuse",
		"mounts":      slices.Equal(destinations, []string{"/proc", "/etc/resolv.conf", "/sys", "/data"}),
		"the rest":    remote.Hostname == "box" && remote.Annotations["a"] == "b" && remote.Process.Cwd == "/x" && remote.Version == "1.2.0",
		"the engine's own": len(spec.Mounts) == 8 && len(spec.Process.Env) == 4 && spec.Hooks != nil && spec.Linux.Resources != nil &&
			spec.Root.Path == "rootfs" && len(spec.Linux.Devices) == 2 && len(spec.Linux.Namespaces) == 2,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, remote)
		}
	}
}

// A volume's real path must be where the site says that the compute nodes see it.
func TestVolumes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shared/data", "shared2", "local"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"shared/out": "../local", "in": "shared/data"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	shared := []string{filepath.Join(dir, "shared")}
	for source, ok := range map[string]bool{
		"shared": true, "shared/data": true, "in": true, "shared2": false, "local": false, "shared/out": false, "nothing": false,
	} {
		_, err := remoteMounts([]specs.Mount{{Destination: "/v", Type: "bind", Source: filepath.Join(dir, source)}}, id, shared)
		if (err == nil) != ok || err != nil && (!errors.Is(err, ErrVolume) || !strings.Contains(err.Error(), source)) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// GPUs of the engine's host are left out for the compute node.
func TestRemoteGPUs(t *testing.T) {
	b := newBundle()
	allGPUs(b)
	b.Spec.Process.Env = append(b.Spec.Process.Env, "A=b")
	b.Spec.Mounts = append(b.Spec.Mounts,
		specs.Mount{Destination: "/dev/nvidia0", Source: "/dev/nvidia0", Type: "bind"},
		specs.Mount{Destination: "/dev/fuse", Source: "/dev/fuse", Type: "bind"})
	remote, err := remoteSpec(b.Spec, id, "/images/root", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(remote.Mounts) != 1 || remote.Mounts[0].Destination != "/dev/fuse" {
		t.Errorf("mounts %+v", remote.Mounts)
	}
	if !slices.Equal(remote.Process.Env, []string{"A=b"}) {
		t.Errorf("environment %q", remote.Process.Env)
	}
	b.Spec.Hooks = nil // then the variable is the image's, and may select some of the job's GPUs
	if remote, err = remoteSpec(b.Spec, id, "/images/root", nil); err != nil || len(remote.Process.Env) != 2 {
		t.Errorf("environment %q: %v", remote.Process.Env, err)
	}
}
