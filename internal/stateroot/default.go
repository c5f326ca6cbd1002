package stateroot

import (
	"path/filepath"
	"strconv"
)

// ForUser lists the directories that may hold the state of the user's containers without --root, in
// order of preference. runtimeDir is $XDG_RUNTIME_DIR of a caller who is that user, otherwise "".
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

// ForSteps is ForUser for Slurm tasks. The list is the same for every verb, so a query as root
// finds what run wrote as the user. If the site has made the shared directory, that comes first:
// /run/user/UID goes away with the user's last login session on the host, even in the middle of a
// job.
func ForSteps(uid int) []string {
	roots := ForUser(uid, "")
	if shared := filepath.Join(Shared, strconv.Itoa(uid)); roots[0] != shared {
		roots[0], roots[1] = roots[1], roots[0]
	}
	return roots
}
