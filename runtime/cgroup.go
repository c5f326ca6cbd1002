package runtime

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// stayInCgroup keeps a Slurm task in the cgroup that Slurm made for it, with Slurm's
// limits. Slurm 22.05 lets the user write to the step's cgroup, and loses track of
// processes that leave it.
func stayInCgroup(c *cgroups.Cgroup) {
	goWithoutCgroup(c)
	c.Resources = &cgroups.Resources{}
}

// goWithoutCgroup makes libcontainer run without a cgroup. It has no option for that, so
// it is given a path where no user may create one: it then goes without, as for every
// rootless container.
func goWithoutCgroup(c *cgroups.Cgroup) {
	c.Rootless = true
	c.Path, c.Parent = "", "/.ocishim-no-cgroup"
}

// cgroupRoot is also where libcontainer looks for cgroups first.
const cgroupRoot = "/sys/fs/cgroup"

// mayMakeCgroup reports whether the caller may make a cgroup in any hierarchy of version 1.
// libcontainer would find out by trying, which takes a twentieth of a rootless launch.
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
			continue // version 2, or not mounted: libcontainer leaves it alone
		}
		err := unix.Access(filepath.Join(mounted, path), unix.W_OK)
		if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EROFS) {
			return true
		}
	}
	return false
}

// hasCgroup reports whether the container has a cgroup of its own. libcontainer does not
// know: without one it reads, changes and joins nothing, and reports no error.
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
