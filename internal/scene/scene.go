// Package scene is what a provider of edits can look at: the host, the image, and the container as
// earlier providers have left it.
package scene

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
)

// A Scene is the same for every provider of a launch, except for what earlier edits change in the
// container.
type Scene struct {
	Host  *host.Tree // of the host itself
	Image *host.Tree // the container's root file system
	Arch  string     // of host and image, as in GOARCH

	Env    []string      // the container's environment, with what Slurm put there
	Cwd    string        // of the container's process: relative paths start there
	Mounts []specs.Mount // the container's
	Links  []bundle.Link // made in the container

	// LoaderCache is /etc/ld.so.cache as an earlier edit left it; nil if no edit changed the
	// image's own.
	LoaderCache []byte

	// CacheDir keeps what providers find out between calls: a directory of the caller alone, made
	// if necessary. Empty for none.
	CacheDir string
}

// A Proposal is what a provider wants to change in the container, and its messages.
type Proposal struct {
	Edits []bundle.Edit

	// Warnings and Hint are for the user who runs the container, one line each. Hint is empty for
	// none.
	Warnings []string
	Hint     string
}
