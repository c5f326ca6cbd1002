package runtime

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// stayInCgroup keeps a Slurm task in the cgroup that Slurm made for it, and its
// limits with Slurm. Slurm 22.05 lets the user write in the step's own cgroup,
// and loses sight of processes that leave it.
func stayInCgroup(c *cgroups.Cgroup) {
	goWithoutCgroup(c)
	c.Resources = &cgroups.Resources{}
}

// goWithoutCgroup has no cgroup made. libcontainer cannot be told so: it is sent to
// a place where no user can make one, and goes without, as it does for every
// rootless container.
func goWithoutCgroup(c *cgroups.Cgroup) {
	c.Rootless = true
	c.Path, c.Parent = "", "/.ocishim-no-cgroup"
}

// cgroupRoot is where libcontainer looks for cgroups first, too.
const cgroupRoot = "/sys/fs/cgroup"

// mayMakeCgroup tells whether the caller may, in any hierarchy of version 1. To find
// out by trying takes libcontainer a twentieth of a rootless launch.
func mayMakeCgroup() bool {
	if cgroups.IsCgroup2UnifiedMode() {
		return true // one try, which is cheap
	}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return true
	}
	for controller, path := range own {
		mounted := filepath.Join(cgroupRoot, strings.TrimPrefix(controller, "name="))
		if controller == "" || errors.Is(unix.Access(mounted, unix.F_OK), unix.ENOENT) {
			continue // of version 2, or not mounted: libcontainer leaves it alone
		}
		err := unix.Access(filepath.Join(mounted, path), unix.W_OK)
		if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EROFS) {
			return true
		}
	}
	return false
}

// hasCgroup tells whether there is a cgroup of the container's own. libcontainer does
// not know: without one it reads, changes and joins nothing, and says nothing.
func hasCgroup(lc *libcontainer.Container) bool {
	state, err := lc.State()
	if err != nil {
		return false
	}
	for _, path := range state.CgroupPaths {
		if unix.Access(path, unix.F_OK) == nil {
			return true
		}
	}
	return false
}
