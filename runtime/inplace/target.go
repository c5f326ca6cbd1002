package inplace

import (
	"fmt"
	"path"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// makeTarget makes a mount point, a file or a directory, in a tmpfs that was
// mounted here. Nowhere else: the image stays as it is, and so does what the node
// has.
func (r *root) makeTarget(target string, file bool) (descriptor, error) {
	// Links of the image are followed, within it. What they lead to is opened again
	// below, so nothing depends on their staying the same.
	full, err := securejoin.SecureJoin(r.fd.path(), target)
	if err != nil {
		return -1, err
	}
	target = path.Clean("/" + strings.TrimPrefix(full, r.fd.path()))
	at, missing := path.Dir(target), []string{path.Base(target)}
	dir, err := r.open(at)
	for absent(err) && at != "/" {
		missing = append([]string{path.Base(at)}, missing...)
		at = path.Dir(at)
		dir, err = r.open(at)
	}
	if err != nil {
		return -1, err
	}
	st, err := dir.stat()
	if err != nil {
		dir.close()
		return -1, err
	}
	if !slices.Contains(r.fresh, st.Dev) {
		dir.close()
		return -1, hinted{
			fmt.Errorf("%s does not exist in %s: %w", strings.Join(missing, "/"), at, unix.ENOENT),
			"it would have to be made in what the node or another mount has there: make it, or mount elsewhere",
		}
	}
	for i, name := range missing {
		next, err := makeIn(dir, name, file && i == len(missing)-1)
		dir.close()
		if err != nil {
			return -1, err
		}
		dir = next
	}
	return dir, nil
}

// makeCwd makes a working directory that a tmpfs of the container lacks. Wherever else it
// is missing, entering it says so.
func (r *root) makeCwd(path string) {
	dir, err := r.open(path)
	if absent(err) {
		dir, err = r.makeTarget(path, false)
	}
	if err == nil {
		dir.close()
	}
}

// makeIn makes one element, and opens it.
func makeIn(dir descriptor, name string, file bool) (descriptor, error) {
	if file {
		fd, err := unix.Openat(int(dir), name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return -1, err
		}
		_ = unix.Close(fd)
	} else if err := unix.Mkdirat(int(dir), name, 0o755); err != nil {
		return -1, err
	}
	fd, err := unix.Openat(int(dir), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return descriptor(fd), nil
}
