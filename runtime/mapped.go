package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ErrNoSuchID means that a user or group does not exist in the container's user namespace.
var ErrNoSuchID = errors.New("no such id in the container's user namespace")

// checkLaunchUser reports the first of the process's ids that its user namespace, a new
// one or the caller's, does not map.
func checkLaunchUser(spec *specs.Spec) error {
	all, known := idsOf(spec)
	if !known {
		return nil // the kernel decides
	}
	user := spec.Process.User
	if namespace(spec, specs.UserNamespace) == nil && groupsDenied() {
		user.AdditionalGids = nil // nobody can set any there, and libcontainer does not try
	}
	return checkUser(user, all.uids, all.gids)
}

// groupsDenied reports whether setgroups(2) is denied in this process's user namespace
// (user_namespaces(7)), as in one that a user without subordinate ids made.
func groupsDenied() bool {
	data, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(data)) == "deny"
}

// checkUser is checkLaunchUser for a process that is added to the container.
func (c *Container) checkUser(u specs.User) error {
	uids, uerr := readMappings(strconv.Itoa(c.Init.Pid), "uid_map")
	gids, gerr := readMappings(strconv.Itoa(c.Init.Pid), "gid_map")
	if uerr != nil || gerr != nil {
		return nil //nolint:nilerr // the kernel decides
	}
	return checkUser(u, uids, gids)
}

func checkUser(u specs.User, uids, gids []specs.LinuxIDMapping) error {
	if !mapped(u.UID, uids) {
		return fmt.Errorf("process.user.uid %d: %w: it has %s", u.UID, ErrNoSuchID, ranges(uids))
	}
	if !mapped(u.GID, gids) {
		return fmt.Errorf("process.user.gid %d: %w: it has %s", u.GID, ErrNoSuchID, ranges(gids))
	}
	for _, gid := range u.AdditionalGids {
		if !mapped(gid, gids) {
			return fmt.Errorf("process.user.additionalGids: %d: %w: it has %s", gid, ErrNoSuchID, ranges(gids))
		}
	}
	return nil
}

func mapped(id uint32, mappings []specs.LinuxIDMapping) bool {
	for _, m := range mappings {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return true
		}
	}
	return false
}

// ranges lists the ids that a user namespace maps, for messages.
func ranges(mappings []specs.LinuxIDMapping) string {
	var all []string
	for _, m := range mappings {
		text := strconv.FormatUint(uint64(m.ContainerID), 10)
		if m.Size > 1 {
			text += " to " + strconv.FormatUint(uint64(m.ContainerID)+uint64(m.Size)-1, 10)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// readMappings reads the ids of a process's user namespace from /proc/PROCESS/NAME
// (user_namespaces(7)).
func readMappings(process, name string) ([]specs.LinuxIDMapping, error) {
	data, err := os.ReadFile("/proc/" + process + "/" + name)
	if err != nil {
		return nil, err
	}
	var mappings []specs.LinuxIDMapping
	for line := range strings.Lines(string(data)) {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(line, &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		mappings = append(mappings, m)
	}
	return mappings, nil
}
