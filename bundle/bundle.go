// Package bundle holds an OCI bundle as data: the container's configuration as
// it was read from config.json, the edits that were made to it in memory, and
// the rules by which both are merged and checked.
//
// It follows the OCI runtime specification 1.3 (bundle.md, config.md,
// config-linux.md). Nothing here starts a process, reads the environment or
// writes to the file system, so everything can be tested and printed without
// creating a container.
package bundle

import specs "github.com/opencontainers/runtime-spec/specs-go"

// ConfigName is the name of the configuration file in the top directory of a
// bundle (bundle.md).
const ConfigName = "config.json"

// Bundle is a loaded OCI bundle: what config.json asked for, and what was
// changed since.
type Bundle struct {
	// ID is the container id. Load leaves it empty: the caller sets it.
	ID string

	// Dir is the absolute path of the bundle. Relative sources of bind
	// mounts are relative to it (config.md, mounts).
	Dir string

	// Rootfs is the absolute, symlink-free path of the root file system on
	// the host. Launchers use it and not Spec.Root.Path, which stays as it
	// was written: relative, or through symlinks.
	Rootfs string

	// Spec is the configuration, with every applied edit in it.
	Spec *specs.Spec

	// Directories, Links and Files are what the container is to find beyond
	// the words of the specification. Launchers make them.
	Directories []string
	Links       []Link
	Files       []File

	// Foreign says that config.json was not UTF-8: any of its strings may be other bytes.
	Foreign bool
	// Exact are the destinations of mounts that no link of the image moves.
	Exact []string
	// Applied lists the edits that are in Spec, in the order in which they
	// were applied. It shares no memory with Spec.
	Applied []Edit
}
