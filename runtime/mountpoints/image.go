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

// CheckOfImage checks, in a container that is created and not yet started, that the mounts
// at the paths (Plan.OfImage) are of the image, which lies at rootfs. The binds are made by
// path, long after the plan was made; a process of another container may
// write in the same image, and exchange a directory of it for a link that leads
// out of it. The kernel says where a mount's files really are. The pid is one of the container's.
func CheckOfImage(pid int, rootfs string, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	// Not /proc/self: libcontainer may have taken our first thread into the
	// container's mount namespace, for good.
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
				return fmt.Errorf("mount %s of the image: it was exchanged meanwhile for something outside of it, %s", path, m.Root)
			}
			found = true
		}
		if !found {
			return fmt.Errorf("mount %s of the image: it is not there", path)
		}
	}
	return nil
}

// Table lists the mounts that the process, by its name in /proc, sees.
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

// placesBelow lists where the directory really is, a path without links, and
// where all that is mounted below it is. Of the mounts on one point, and of
// those above, the last one counts.
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

// Below gives the path relative to the directory that is the same, or above.
func Below(dir, path string) (string, bool) {
	if path == dir {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
