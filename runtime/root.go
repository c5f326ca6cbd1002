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
// --root says so, in the order of preference. runtimeDir is $XDG_RUNTIME_DIR of
// a caller who is that user, else "".
func DefaultRoots(uid int, runtimeDir string) []string {
	id := strconv.Itoa(uid)
	var roots []string
	if filepath.IsAbs(runtimeDir) {
		roots = append(roots, filepath.Join(runtimeDir, "ocishim"))
	}
	if uid != 0 {
		roots = append(roots, filepath.Join("/run/user", id, "ocishim"))
	}
	return append(roots, filepath.Join(sharedRoot, id), filepath.Join("/tmp", "ocishim-"+id))
}

// StepRoots is DefaultRoots for Slurm tasks. The list is the same for every
// verb: a query as root finds what run wrote as the user. Where the site has
// made the shared directory it comes first: /run/user/UID goes with the user's
// last login session on the node, in the middle of a job.
func StepRoots(uid int) []string {
	roots := DefaultRoots(uid, "")
	if shared := filepath.Join(sharedRoot, strconv.Itoa(uid)); roots[0] != shared {
		roots[0], roots[1] = roots[1], roots[0]
	}
	return roots
}

// MakeStore opens the first root that exists or can be made, making it with
// mode 0700. One that is not safe is passed over where there are others: each
// of them is checked, and anybody can put a directory where users share one.
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
		if len(roots) == 1 && errors.Is(err, ErrUnsafeRoot) {
			return nil, err
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("%w: %s", ErrNoRoot, inOneLine(failures))
}

// OpenStores opens those of the roots that can be used; none is ErrNotFound.
// What is wrong with a single root that exists is an error of its own.
func OpenStores(roots ...string) ([]*Store, error) {
	var stores []*Store
	var failures []error
	for _, root := range roots {
		s, err := openStore(root)
		switch {
		case err == nil:
			stores = append(stores, s)
		case len(roots) == 1 && !errors.Is(err, os.ErrNotExist):
			return nil, err
		default:
			failures = append(failures, err)
		}
	}
	if len(stores) == 0 {
		return nil, fmt.Errorf("%s: %w", inOneLine(failures), ErrNotFound)
	}
	return stores, nil
}

// inOneLine joins messages; errors.Join would break the line.
func inOneLine(failures []error) string {
	var messages []string
	for _, err := range failures {
		messages = append(messages, err.Error())
	}
	return strings.Join(messages, "; ")
}

// makeRoot makes a state root, of several levels when need be, as runc does.
func makeRoot(root string) error {
	if filepath.Dir(root) == sharedRoot && os.Geteuid() == 0 {
		// Not 0700: the users' roots lie beside root's.
		if err := os.Mkdir(sharedRoot, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make state directory: %w", err)
		}
	}
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
