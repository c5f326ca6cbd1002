// Package bundle holds an OCI bundle as data: the configuration as read from config.json, the edits
// made to it in memory, and the rules by which both are merged and checked.
//
// It follows the OCI runtime specification 1.3 (bundle.md, config.md, config-linux.md). Nothing
// here starts a process, reads the environment or writes to the file system, so everything can be
// tested and printed without creating a container.
package bundle

import (
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ConfigName is the name of the configuration file in the top directory of a
// bundle (bundle.md).
const ConfigName = "config.json"

// Bundle is a loaded OCI bundle: what config.json asked for, and what has been changed since.
type Bundle struct {
	// ID is the container id. Load leaves it empty: the caller sets it.
	ID string

	// Dir is the absolute path of the bundle. Relative sources of bind
	// mounts are relative to it (config.md, mounts).
	Dir string

	// Rootfs is the absolute, symlink-free path of the root file system on the host. Launchers use
	// this instead of Spec.Root.Path, which stays as it was written: possibly relative, or through
	// symlinks.
	Rootfs string

	// RootMount is a mount of the root file system, attached nowhere, if Rootfs is a file: an image
	// that is mounted for the container only. It stays open until the launch.
	RootMount *os.File

	// FileMounts are mounts, attached nowhere, by the destinations of mounts of SquashfsType.
	FileMounts map[string]*os.File

	// Spec is the configuration with every applied edit merged into it.
	Spec *specs.Spec

	// Directories, Links and Files should appear in the container, although the specification
	// cannot express them. Launchers create them.
	Directories []string
	Links       []Link
	Files       []File

	// Foreign says that config.json is not valid UTF-8: any of its strings may hold other bytes.
	Foreign bool
	// Exact lists the destinations of mounts that links of the image must not redirect.
	Exact []string
	// Applied lists the edits merged into Spec, in the order in which they were applied. It shares
	// no memory with Spec.
	Applied []Edit
}

// RootDir returns a path at which this process finds the files of the root file system: Rootfs, or
// the image that is mounted for the container only. It is for opening, not for people, and links of
// the image must not be followed along it.
func (b *Bundle) RootDir() string {
	if b.RootMount != nil && b.Rootfs == b.RootMount.Name() {
		return "/proc/self/fd/" + strconv.Itoa(int(b.RootMount.Fd()))
	}
	return b.Rootfs
}
