// Package scratch keeps the layers of containers on a host's own disk: what they change in images
// that are writable. Each has a directory of its own in a directory of the user's. Nobody waits for
// the end of such a container, so the name of its directory says which process began it, and a
// later call removes what is over.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/stateroot"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// layersDir is the directory of a user's layers. The directory above it may have other things, such
// as the state of containers.
const layersDir = ".ocishim-layers"

// gonePrefix begins the names of layers that are being removed.
const gonePrefix = "gone-"

// ErrUnusable says that there can be no layers in a directory, or that somebody else could change
// them.
var ErrUnusable = errors.New("no layer can be kept in")

// Make makes the directory of a new layer in dir, for a container that the process becomes, and
// removes those that are over. It returns the path without links.
func Make(dir string, owner process.ID) (string, error) {
	layers, err := open(dir)
	if err != nil {
		// The hints for these errors are about other directories.
		return "", fmt.Errorf("%w %s: %s", ErrUnusable, dir, err) //nolint:errorlint // see above
	}
	sweep(layers)
	path := filepath.Join(layers, nameOf(owner))
	for _, made := range []string{path, filepath.Join(path, inplace.UpperDir), filepath.Join(path, inplace.WorkDir)} {
		if err := os.Mkdir(made, 0o700); err != nil {
			Discard(path)
			return "", fmt.Errorf("make a layer: %w", err)
		}
	}
	return path, nil
}

// open returns the path of the user's layers, which it makes if they are missing.
func open(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := stateroot.Check(dir); err != nil {
		return "", err
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	layers := filepath.Join(root, layersDir)
	if err := os.Mkdir(layers, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Lstat(layers, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: layers, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return "", fmt.Errorf("%s is not a directory of uid %d with mode 0700", layers, os.Geteuid())
	}
	return layers, nil
}

// nameOf names the layer of a container that the process becomes: by boot and pid namespace, to
// which its pid and start time belong.
func nameOf(owner process.ID) string {
	return fmt.Sprintf("%s.%d.%d.%d", process.BootID(), process.Numbering(), owner.Pid, owner.Start)
}

// GoneName returns the name, beside the layer, under which it is removed.
func GoneName(path string) string { return gonePrefix + filepath.Base(path) }

// Discard removes a layer that no container has any more.
func Discard(path string) {
	if filepath.Base(filepath.Dir(path)) != layersDir {
		return
	}
	gone := filepath.Join(filepath.Dir(path), GoneName(path))
	if os.Rename(path, gone) == nil {
		entry.RemoveTree(gone)
	}
}

// Remove removes the layer of a container that is over. It leaves one that any process still sees.
func Remove(path string) {
	if isOver(path, new(visible)) {
		Discard(path)
	}
}

// sweep removes what killed processes left.
func sweep(layers string) {
	names, err := os.ReadDir(layers)
	if err != nil {
		return
	}
	seen := new(visible)
	for _, e := range names {
		path := filepath.Join(layers, e.Name())
		owner, gone := strings.CutPrefix(e.Name(), gonePrefix)
		switch {
		case gone && !alive(owner):
			entry.RemoveTree(path)
		case !gone && isOver(path, seen):
			Discard(path)
		}
	}
}

// isOver reports whether nobody needs the layer: its process has ended, and no other process sees
// its files.
func isOver(path string, seen *visible) bool {
	name := filepath.Base(path)
	return !alive(name) && !seen.has(name)
}

// alive reports whether the process in a layer's name runs, or cannot be judged from here. What has
// another name is not a layer, and is left alone.
func alive(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) != 4 || process.BootID() == "" {
		return true
	}
	numbering, err := strconv.ParseUint(parts[1], 10, 64)
	pid, failed := strconv.Atoi(parts[2])
	start, bad := strconv.ParseUint(parts[3], 10, 64)
	if errors.Join(err, failed, bad) != nil {
		return true
	}
	if parts[0] != process.BootID() {
		return false
	}
	here, sure := process.Locate(numbering, process.ID{Pid: pid, Start: start})
	return !sure || here[0].Alive()
}
