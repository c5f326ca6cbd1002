package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/ocishim/ocishim/bundle"
)

// checkScaffold checks, in a container that is created and not yet started,
// that what the scaffold bound is of the image. The binds are made by path, long
// after the scaffold looked at the image; a process of another container may
// write in the same image, and exchange a directory of it for a link that leads
// out of it. The kernel tells where a mount's files really are.
func (l *launch) checkScaffold() error {
	binds := l.bindsOfImage()
	if len(binds) == 0 {
		return nil
	}
	// Not /proc/self: libcontainer may have taken our first thread into the
	// container's mount namespace, for good.
	host, err := mountsOf("thread-self")
	if err != nil {
		return err
	}
	inside, err := mountsOf(strconv.Itoa(l.c.Init.Pid))
	if err != nil {
		return err
	}
	image := placesBelow(host, l.c.Rootfs)
	for _, path := range binds {
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

// mountsOf lists the mounts that the process, by its name in /proc, sees.
func mountsOf(process string) ([]*mountinfo.Info, error) {
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

// bindsOfImage lists where the scaffold had parts of the image bound.
func (l *launch) bindsOfImage() []string {
	var paths []string
	made := l.c.entry.File(scaffoldDir) + "/"
	for _, e := range l.b.Applied {
		if e.From != scaffoldEdit {
			continue
		}
		for _, m := range e.MountsFirst {
			if bundle.IsBind(m) && !strings.HasPrefix(m.Source, made) {
				paths = append(paths, m.Destination)
			}
		}
	}
	return paths
}

// A place is a directory or file by its file system, and its path in that.
type place struct {
	major, minor int
	path         string
}

func placeOf(m *mountinfo.Info) place {
	return place{m.Major, m.Minor, strings.TrimSuffix(m.Root, "//deleted")}
}

// holds tells whether the other place is this one, or below it.
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
		if rel, ok := below(m.Mountpoint, dir); ok && len(m.Mountpoint) >= len(above) {
			above, own = m.Mountpoint, placeOf(m)
			own.path = filepath.Join(own.path, rel)
		} else if _, ok := below(dir, m.Mountpoint); ok {
			places = append(places, placeOf(m))
		}
	}
	return append(places, own)
}

// below gives the path relative to the directory that is the same, or above.
func below(dir, path string) (string, bool) {
	if path == dir {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
