// Package scene is what a provider of edits can look at: the host, the image, and the
// container as the providers before it leave it.
package scene

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// A Scene is the same for every provider of a launch, but for what earlier edits change
// of the container.
type Scene struct {
	Host  *host.Tree // the machine
	Image *host.Tree // the container's root file system
	Arch  string     // of both, as in GOARCH

	Env    []string      // the container's environment, with what Slurm put there
	Cwd    string        // of its process: relative paths begin there
	Mounts []specs.Mount // the container's
	Links  []bundle.Link // made in the container

	// LoaderCache is /etc/ld.so.cache as an earlier edit left it; nil when none did,
	// and the image's own counts.
	LoaderCache []byte

	// CacheDir keeps what providers find out from one call to the next: a directory
	// that is the caller's alone, made when need be. Empty for none.
	CacheDir string
}

// A Proposal is what a provider wants done to the container, and what it has to say.
type Proposal struct {
	Edits []bundle.Edit

	// Warnings and Hint are for whoever runs the container, a line each. Hint is
	// empty for none.
	Warnings []string
	Hint     string
}
