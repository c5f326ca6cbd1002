package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/stateroot"
)

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
	return append(roots, filepath.Join(stateroot.Shared, id), filepath.Join("/tmp", "ocishim-"+id))
}

// StepRoots is DefaultRoots for Slurm tasks. The list is the same for every
// verb: a query as root finds what run wrote as the user. Where the site has
// made the shared directory it comes first: /run/user/UID goes with the user's
// last login session on the node, in the middle of a job.
func StepRoots(uid int) []string {
	roots := DefaultRoots(uid, "")
	if shared := filepath.Join(stateroot.Shared, strconv.Itoa(uid)); roots[0] != shared {
		roots[0], roots[1] = roots[1], roots[0]
	}
	return roots
}

// MakeStore opens the first root that exists or can be made, with mode 0700. One that is
// not safe is passed over where there are others; see stateroot.Make.
func MakeStore(roots ...string) (*Store, error) {
	dir, err := stateroot.Make(roots...)
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir}, nil
}

// OpenStores opens those of the roots that can be used; none is ErrNotFound.
// What is wrong with a single root that exists is an error of its own.
func OpenStores(roots ...string) ([]*Store, error) {
	dirs, failures := stateroot.Existing(roots...)
	if len(roots) == 1 && len(failures) == 1 && !errors.Is(failures[0], os.ErrNotExist) {
		return nil, failures[0]
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s: %w", inOneLine(failures), ErrNotFound)
	}
	var stores []*Store
	for _, dir := range dirs {
		stores = append(stores, &Store{dir: dir})
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
