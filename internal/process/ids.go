package process

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// HostIDs reports whether users and groups have the same numbers here as on the host. That is so in
// the host's own user namespace, and in one that maps every id to itself, as Slurm's
// namespace/linux makes for a job (CLONE_NEWUSER). Only root on the host can make such a namespace.
// Root may become any user there, but has no capabilities over what belongs to no user namespace,
// such as limits.
var HostIDs = sync.OnceValue(func() bool {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino == firstUserNamespace {
		return true
	}
	return mapsEveryID("/proc/self/uid_map") && mapsEveryID("/proc/self/gid_map")
})

// firstUserNamespace is the inode of the host's own user namespace, which no other has
// (PROC_USER_INIT_INO in linux/proc_ns.h). To look at it takes a fraction of reading both maps.
const firstUserNamespace = 0xEFFFFFFD

// mapsEveryID reads a uid_map or gid_map (user_namespaces(7)).
func mapsEveryID(path string) bool {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return true // a kernel without user namespaces
	}
	fields := strings.Fields(string(data))
	return err == nil && len(fields) == 3 && fields[0] == "0" && fields[1] == "0" && fields[2] == "4294967295"
}
