package mountpoints

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// CheckOfImage checks that the mounts at the paths (Plan.OfImage) show files of the image at
// rootfs, in a container that is created and not yet started. The binds are made by path, long
// after the plan: a process in another container may write to the same image, and exchange a
// directory for a link that leads out of it. The kernel reports where a mount's files really are.
// pid is a process of the container.
func CheckOfImage(pid int, rootfs string, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	// Not /proc/self: libcontainer may have moved our first thread into the container's mount
	// namespace for good.
	host, err := Table("thread-self")
	if err != nil {
		return err
	}
	inside, err := Table(strconv.Itoa(pid))
	if err != nil {
		return err
	}
	image := placesBelow(host, rootfs)
	for _, path := range paths {
		found := false
		for _, m := range inside {
			if m.Mountpoint != path {
				continue
			}
			if !slices.ContainsFunc(image, func(p place) bool { return p.holds(placeOf(m)) }) {
				return fmt.Errorf("mount %s of the image: meanwhile it was exchanged for something outside the image, %s", path, m.Root)
			}
			found = true
		}
		if !found {
			return fmt.Errorf("mount %s of the image: it is not there", path)
		}
	}
	return nil
}

// Table lists the mounts that a process sees, by the process's name in /proc.
func Table(process string) ([]*mountinfo.Info, error) {
	f, err := os.Open(filepath.Join("/proc", process, "mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return nil, fmt.Errorf("read mounts of process %s: %w", process, err)
	}
	return mounts, nil
}

// A place is a directory or file by its file system, and its path in that.
type place struct {
	major, minor int
	path         string
}

func placeOf(m *mountinfo.Info) place {
	return place{m.Major, m.Minor, strings.TrimSuffix(m.Root, "//deleted")}
}

// holds reports whether the other place is this one, or below it.
func (p place) holds(other place) bool {
	if p.major != other.major || p.minor != other.minor {
		return false
	}
	return p.path == other.path || strings.HasPrefix(other.path, strings.TrimSuffix(p.path, "/")+"/")
}

// placesBelow lists the real place of the directory, a path without links, and the places of all
// mounts below it. Of several mounts at a point, or above, the last one counts.
func placesBelow(mounts []*mountinfo.Info, dir string) []place {
	var own place
	var above string
	var places []place
	for _, m := range mounts {
		if rel, ok := Below(m.Mountpoint, dir); ok && len(m.Mountpoint) >= len(above) {
			above, own = m.Mountpoint, placeOf(m)
			own.path = filepath.Join(own.path, rel)
		} else if _, ok := Below(dir, m.Mountpoint); ok {
			places = append(places, placeOf(m))
		}
	}
	return append(places, own)
}

// Below returns the path relative to the directory, and reports whether it is the directory or
// below it.
func Below(dir, path string) (string, bool) {
	if path == dir {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
