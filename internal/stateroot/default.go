package stateroot

import (
	"path/filepath"
	"strconv"
)

// ForUser lists where the state of the user's containers may lie when no
// --root says so, in the order of preference. runtimeDir is $XDG_RUNTIME_DIR of
// a caller who is that user, else "".
func ForUser(uid int, runtimeDir string) []string {
	id := strconv.Itoa(uid)
	var roots []string
	if filepath.IsAbs(runtimeDir) {
		roots = append(roots, filepath.Join(runtimeDir, "ocishim"))
	}
	if uid != 0 {
		roots = append(roots, filepath.Join("/run/user", id, "ocishim"))
	}
	return append(roots, filepath.Join(Shared, id), filepath.Join("/tmp", "ocishim-"+id))
}

// ForSteps is ForUser for Slurm tasks. The list is the same for every
// verb: a query as root finds what run wrote as the user. Where the site has
// made the shared directory it comes first: /run/user/UID goes with the user's
// last login session on the node, in the middle of a job.
func ForSteps(uid int) []string {
	roots := ForUser(uid, "")
	if shared := filepath.Join(Shared, strconv.Itoa(uid)); roots[0] != shared {
		roots[0], roots[1] = roots[1], roots[0]
	}
	return roots
}
