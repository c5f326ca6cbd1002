package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sharedRoot is where a site makes room for users without /run/user/UID:
// a directory with mode 1777 made at boot by tmpfiles.d.
const sharedRoot = "/run/ocishim"

// DefaultRoots lists where the state of the user's containers may lie when no
// --root says so, in the order of preference. The list is the same for every
// verb: a query as root finds what run wrote as the user.
// runtimeDir is $XDG_RUNTIME_DIR of a caller who is that user, else "".
func DefaultRoots(uid int, runtimeDir string) []string {
	id := strconv.Itoa(uid)
	var roots []string
	if filepath.IsAbs(runtimeDir) {
		roots = append(roots, filepath.Join(runtimeDir, "ocishim"))
	}
	return append(roots,
		filepath.Join("/run/user", id, "ocishim"),
		filepath.Join(sharedRoot, id),
		filepath.Join("/tmp", "ocishim-"+id))
}

// MakeStore opens the first root that exists or can be made, making it with
// mode 0700. A root that exists but is not safe is an error, not a reason to
// try the next: somebody may be waiting for us to look elsewhere.
func MakeStore(roots ...string) (*Store, error) {
	var failures []error
	for _, root := range roots {
		s, err := openStore(root)
		if errors.Is(err, os.ErrNotExist) {
			if err = makeRoot(root); err == nil {
				s, err = openStore(root)
			}
		}
		if err == nil {
			return s, nil
		}
		if errors.Is(err, ErrUnsafeRoot) {
			return nil, err
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrNoRoot, errors.Join(failures...))
}

// OpenStores opens those of the roots that exist; none is ErrNotFound.
func OpenStores(roots ...string) ([]*Store, error) {
	var stores []*Store
	for _, root := range roots {
		s, err := openStore(root)
		switch {
		case err == nil:
			stores = append(stores, s)
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	if len(stores) == 0 {
		return nil, fmt.Errorf("open state directory %s: %w", strings.Join(roots, " or "), ErrNotFound)
	}
	return stores, nil
}

// makeRoot makes a state root. A root of several levels is made whole, as runc
// does, except below directories that only the system makes.
func makeRoot(root string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	return nil
}

// openStore checks that the directory is the caller's own, is no symlink, and
// that nobody else may write in it.
func openStore(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return nil, &os.PathError{Op: "open state directory", Path: root, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil, fmt.Errorf("%w %s: it is a symbolic link", ErrUnsafeRoot, root)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("%w %s: it is not a directory", ErrUnsafeRoot, root)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%w %s: it belongs to uid %d, not to uid %d", ErrUnsafeRoot, root, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("%w %s: others may write in it (mode %04o)", ErrUnsafeRoot, root, st.Mode&0o7777)
	}
	return &Store{dir: root}, nil
}
