package runtime

import (
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// checkMountNamespace refuses a container that would be built in the caller's own mount
// namespace: libcontainer cuts all that is mounted there off from the mounts of others,
// and leaves the container's mounts behind. The specification has a namespace that is not
// named be the caller's; that is done where nobody but a container or its like has those
// mounts: in another pid namespace than the node's. Never are they pivoted.
func checkMountNamespace(spec *specs.Spec) error {
	ns := namespace(spec, specs.MountNamespace)
	switch {
	case ns == nil && (os.Geteuid() != 0 || amongNodesProcesses()):
		return fmt.Errorf("linux.namespaces: no mount namespace: %w", ErrNodesMounts)
	case ns != nil && ns.Path != "" && isCallers(ns.Path):
		return fmt.Errorf("linux.namespaces: mount: %s is the caller's: %w", ns.Path, ErrNodesMounts)
	}
	return nil
}

// amongNodesProcesses tells whether this process is in the node's pid namespace, whose number the
// kernel has in its headers (PROC_PID_INIT_INO); also where that cannot be told.
func amongNodesProcesses() bool {
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
