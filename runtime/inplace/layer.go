package inplace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Layer takes the changes of a container's root file system (bundle.Layer).
type Layer struct {
	// Dir is the layer's own directory on the host's disk, with UpperDir and WorkDir; empty for a
	// layer in memory. Gone is the name, beside it, of the directory in which it is removed.
	Dir  string `json:"dir,omitempty"`
	Gone string `json:"gone,omitempty"`

	// Hidden is the directory of all layers on this disk, which the container does not see.
	Hidden string `json:"hidden,omitempty"`

	Size   string  `json:"size,omitempty"` // of a layer in memory
	By     string  `json:"by,omitempty"`
	Points []Point `json:"points,omitempty"`

	own descriptor // the directory on disk, once it is hidden
}

// These are in the directory of a layer.
const (
	UpperDir = "upper"
	WorkDir  = "work"
)

// A Point is made in a layer before anything is mounted: a directory, a file, or a link. Instead,
// if it is not empty, is what the image has in its place or on the way to it. Both are clean paths
// within the root, with no link on the way.
type Point struct {
	Path    string `json:"path"`
	File    bool   `json:"file,omitempty"`
	Link    string `json:"link,omitempty"` // the target of a link
	Instead string `json:"instead,omitempty"`
}

// ErrLayer says that this host cannot give a container an image whose files can be changed.
var ErrLayer = errors.New("an image cannot be made writable")

// hide opens the layer's directory, and hides the layers on disk, so that no bind mount of the
// container's shows them.
func (l *Layer) hide() (err error) {
	if l == nil || l.Dir == "" {
		return nil
	}
	if l.own, err = openDirectoryIn(unix.AT_FDCWD, l.Dir); err != nil {
		return l.refused(fmt.Errorf("open %s: %w", l.Dir, err), "")
	}
	if err := hideAt(l.Hidden); err != nil {
		return l.refused(fmt.Errorf("hide %s: %w", l.Hidden, err), "")
	}
	return nil
}

// hideIn does so where a bind mount shows the disk without what is mounted there.
func (l *Layer) hideIn(r *root, m mount) error {
	if l == nil || l.Hidden == "" || m.recursive() {
		return nil
	}
	rel, below := strings.CutPrefix(l.Hidden, strings.TrimSuffix(m.Source, "/")+"/")
	if !below {
		return nil
	}
	shown, err := r.open(filepath.Join(m.Target, rel))
	if absent(err) {
		return nil
	}
	if err == nil {
		defer shown.close()
		err = hideAt(shown.path())
	}
	if err != nil {
		return l.refused(fmt.Errorf("hide %s below %s: %w", l.Hidden, m.Target, err), "")
	}
	return nil
}

// hideAt mounts an empty directory, which nothing can be made in, over the path.
func hideAt(path string) error {
	return unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "nr_inodes=1,size=4k,mode=0500")
}

// mount mounts the layer and the image below it as one. at is a directory for the mounts that are
// needed on the way; they go with the host's root.
func (l *Layer) mount(image descriptor, at string) (*root, error) {
	own, err := l.open(at)
	if err != nil {
		return nil, err
	}
	defer own.close()
	upper, err := l.prepare(own, image)
	if err != nil {
		return nil, err
	}
	defer upper.close()
	work, err := openDirectoryIn(own, WorkDir)
	if err != nil {
		return nil, l.refused(fmt.Errorf("open %s: %w", WorkDir, err), "")
	}
	defer work.close()
	fd, err := overlay(l.name(), image, upper, work)
	if err == nil {
		err = unix.MoveMount(int(fd), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return nil, l.refused(fmt.Errorf("mount overlay: %w", err), l.advice())
	}
	r, err := l.begin(fd)
	if err != nil {
		fd.close()
		return nil, err
	}
	return r, nil
}

// open opens the layer's own directory.
func (l *Layer) open(at string) (descriptor, error) {
	if l.Dir != "" {
		return l.own, nil
	}
	err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size="+l.Size)
	if err != nil {
		return -1, l.refused(fmt.Errorf("mount tmpfs with size=%s: %w", l.Size, err), "")
	}
	own, err := openPath(at)
	if err == nil {
		err = errors.Join(unix.Mkdirat(int(own), UpperDir, 0o700), unix.Mkdirat(int(own), WorkDir, 0o700))
	}
	if err != nil {
		return -1, l.refused(fmt.Errorf("make the layer: %w", err), "")
	}
	return own, nil
}

// probeAttribute is set for a moment, to see whether the file system has such attributes.
const probeAttribute = "user.overlay.ocishim"

// prepare opens the directory of changes, and gives it the mode of the image's root. It checks that
// what is deleted can be made again, for which overlayfs needs attributes. Without them it would
// mount all the same.
func (l *Layer) prepare(own, image descriptor) (descriptor, error) {
	upper, err := openDirectoryIn(own, UpperDir)
	if err != nil {
		return -1, l.refused(fmt.Errorf("open %s: %w", UpperDir, err), "")
	}
	st, err := image.stat()
	if err == nil {
		err = unix.Fchmod(int(upper), st.Mode&0o777|0o700)
	}
	if err == nil {
		err = unix.Fsetxattr(int(upper), probeAttribute, []byte("y"), 0)
	}
	if err == nil {
		err = unix.Fremovexattr(int(upper), probeAttribute)
	}
	if err != nil {
		upper.close()
		return -1, l.refused(fmt.Errorf("set attribute %s: %w", probeAttribute, err), l.advice())
	}
	return upper, nil
}

// name is what the mount is called in mountinfo (proc(5)): the name of a layer on disk, so that it can
// be seen which of them are in use.
func (l *Layer) name() string {
	if l.Dir == "" {
		return "ocishim"
	}
	return filepath.Base(l.Dir)
}

// overlay returns a mount, attached nowhere. Nothing in it needs to outlast a crash of the host.
func overlay(name string, lower, upper, work descriptor) (descriptor, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, option := range []struct{ name, value string }{
		{"source", name}, {"lowerdir", lower.path()}, {"upperdir", upper.path()}, {"workdir", work.path()},
	} {
		if err := unix.FsconfigSetString(fs, option.name, option.value); err != nil {
			return -1, fmt.Errorf("%s: %w", option.name, because(fs, err))
		}
	}
	for _, flag := range []string{"userxattr", "volatile"} {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return -1, fmt.Errorf("%s: %w", flag, because(fs, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, because(fs, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	return descriptor(fd), err
}

// because adds what the kernel says about a failed mount, where it says anything.
func because(fs int, err error) error {
	message := make([]byte, 512)
	n, failed := unix.Read(fs, message)
	if failed != nil || n <= 0 {
		return err
	}
	words := strings.TrimPrefix(strings.TrimSpace(string(message[:n])), "e ")
	return fmt.Errorf("%w: %s", err, words)
}

// begin makes in the layer what the image lacks.
func (l *Layer) begin(fd descriptor) (*root, error) {
	var fs unix.Statfs_t
	st, err := fd.stat()
	if err == nil {
		err = unix.Fstatfs(int(fd), &fs)
	}
	if err == nil && fs.Flags&unix.ST_RDONLY != 0 {
		err = unix.EROFS // overlayfs cannot use the directory, and mounts all the same
	}
	if err != nil {
		return nil, l.refused(fmt.Errorf("mount overlay: %w", err), l.advice())
	}
	if err := makePoints(fd, l.Points); err != nil {
		return nil, l.refused(err, "")
	}
	return &root{fd: fd, fresh: []uint64{st.Dev}}, nil
}

// makePoints makes mount points and links. Nobody but this process sees the layer yet.
func makePoints(fd descriptor, points []Point) error {
	if len(points) == 0 {
		return nil
	}
	tree, err := os.OpenRoot(fd.path())
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	for _, p := range points {
		if err := makePoint(tree, p); err != nil {
			return fmt.Errorf("make mount point %s: %w", p.Path, err)
		}
	}
	return nil
}

func makePoint(tree *os.Root, p Point) error {
	if p.Instead != "" {
		if err := tree.RemoveAll(strings.TrimPrefix(p.Instead, "/")); err != nil {
			return err
		}
	}
	name := strings.TrimPrefix(p.Path, "/")
	dir := name
	if p.File || p.Link != "" {
		dir = filepath.Dir(name)
	}
	if err := tree.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch {
	case p.Link != "":
		return tree.Symlink(p.Link, name)
	case p.File:
		f, err := tree.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	}
	return nil
}

// refused names who wanted the layer, and the host that cannot have it.
func (l *Layer) refused(err error, hint string) error {
	name, _ := os.Hostname()
	err = fmt.Errorf("%s: %w on host %s: %w", l.By, ErrLayer, name, err)
	if hint == "" {
		return err
	}
	return hinted{err, hint}
}

// advice says what could help where overlayfs refuses.
func (l *Layer) advice() string {
	if l.Dir != "" {
		return "users' overlayfs needs Linux 5.11, and image.scratch on a local file system such as ext4 or xfs; without writable the image starts read-only"
	}
	return "users' overlayfs needs Linux 5.11, and in memory Linux 6.6: writable=disk needs no more than the first; without writable the image starts read-only"
}

// openDirectoryIn opens a directory that is not a link.
func openDirectoryIn(dir descriptor, name string) (descriptor, error) {
	fd, err := unix.Openat(int(dir), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	return descriptor(fd), err
}
