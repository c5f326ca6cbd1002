package inplace

import (
	"fmt"
	"path"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// makeTarget makes a mount point, a file or a directory, in a tmpfs mounted here. It makes none
// anywhere else: the image does not change, and neither do directories of the host.
func (r *root) makeTarget(target string, file bool) (descriptor, error) {
	// Links of the image are followed within it. Their result is opened again below, so it does not
	// matter if they change.
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
			"it would have to be created in a directory of the host or of another mount: create it there, or mount elsewhere",
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

// makeCwd makes a working directory that is missing in a tmpfs of the container. If it is missing
// elsewhere, entering it fails with an error.
func (r *root) makeCwd(path string) {
	dir, err := r.open(path)
	if absent(err) {
		dir, err = r.makeTarget(path, false)
	}
	if err == nil {
		dir.close()
	}
}

// makeIn makes one element of a path, and opens it.
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
