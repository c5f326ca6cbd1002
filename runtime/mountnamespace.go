package runtime

import (
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// checkMountNamespace refuses a container that would be built in the caller's own mount
// namespace: libcontainer would change the propagation of all mounts there, and leave the
// container's mounts behind. By the specification, a namespace that is not listed is the
// caller's. We allow that only if the caller is in a container itself, judged by its pid
// namespace, so that the host's mounts are not affected.
func checkMountNamespace(spec *specs.Spec) error {
	ns := namespace(spec, specs.MountNamespace)
	switch {
	case ns == nil && (os.Geteuid() != 0 || amongHostProcesses()):
		return fmt.Errorf("linux.namespaces: no mount namespace: %w", ErrNodesMounts)
	case ns != nil && ns.Path != "" && isCallers(ns.Path):
		return fmt.Errorf("linux.namespaces: mount: %s is the caller's: %w", ns.Path, ErrNodesMounts)
	}
	return nil
}

// amongHostProcesses reports whether this process is in the host's pid namespace, whose
// inode is a constant of the kernel (PROC_PID_INIT_INO). In doubt it is.
func amongHostProcesses() bool {
	const first = 0xEFFFFFFC
	info, err := os.Stat("/proc/self/ns/pid")
	if err != nil {
		return true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Ino == first
}

func isCallers(mountNamespace string) bool {
	theirs, terr := os.Stat(mountNamespace)
	ours, oerr := os.Stat("/proc/self/ns/mnt")
	return terr == nil && oerr == nil && os.SameFile(theirs, ours)
}
