package profile

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/request"
)

// Unshare returns the edit that gives the container namespaces of its own, with the file systems that
// show what is in them.
func Unshare(choices []request.Choice, exists func(path string) bool) bundle.Edit {
	e := bundle.Edit{From: "unshare"}
	for _, c := range choices {
		e.Rule = c.By
		switch c.Value {
		case "net":
			// libcontainer brings lo up. /sys stays: its network devices are those of whoever
			// mounted it.
			e.Namespaces = append(e.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
		case "ipc":
			e.Namespaces = append(e.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace})
			e.Mounts = append(e.Mounts, sharedMemory())
			if exists("/dev/mqueue") {
				e.Mounts = append(e.Mounts, specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}})
			}
		case "uts":
			e.Namespaces = append(e.Namespaces, specs.LinuxNamespace{Type: specs.UTSNamespace})
		case "pid":
			e.Namespaces = append(e.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
			e.Mounts = append(e.Mounts, specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}})
		}
	}
	return e
}

// sharedMemory returns the mount for POSIX shared memory and semaphores, which are files.
func sharedMemory() specs.Mount {
	return specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}}
}
