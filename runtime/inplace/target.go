package inplace

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// makeTarget makes a mount point, a file or a directory, in a tmpfs that was
// mounted here. Nowhere else: the image stays as it is, and so does what the node
// has.
func (r *root) makeTarget(target string, file bool) (*os.File, error) {
	// Links of the image are followed, within it. What they lead to is opened again
	// below, so nothing depends on their staying the same.
	full, err := securejoin.SecureJoin(selfFD(r.fd), target)
	if err != nil {
		return nil, err
	}
	target = path.Clean("/" + strings.TrimPrefix(full, selfFD(r.fd)))
	dir, err := r.open(path.Dir(target))
	missing := []string{path.Base(target)}
	for at := path.Dir(target); absent(err) && at != "/"; {
		missing = append([]string{path.Base(at)}, missing...)
		at = path.Dir(at)
		dir, err = r.open(at)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		dir.Close()
		return nil, err
	}
	if !slices.Contains(r.fresh, st.Dev) {
		dir.Close()
		return nil, hinted{
			fmt.Errorf("%s does not exist in %s: %w", strings.Join(missing, "/"), dir.Name(), unix.ENOENT),
			"it would have to be made in what the node or another mount has there: make it, or mount elsewhere",
		}
	}
	for i, name := range missing {
		next, err := makeIn(dir, name, file && i == len(missing)-1)
		dir.Close()
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// makeIn makes one element, and opens it.
func makeIn(dir *os.File, name string, file bool) (*os.File, error) {
	if file {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return nil, err
		}
		_ = unix.Close(fd)
	} else if err := unix.Mkdirat(int(dir.Fd()), name, 0o755); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
