// Package plan composes what is done to a bundle before it is launched: which provider
// has a say, and in which order. It decides nothing else.
package plan

import (
	"errors"
	"fmt"
	goruntime "runtime"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
)

// ErrRoot says that root asked for a launch that is for users.
var ErrRoot = errors.New("it is for users, not for root")

// A Scene is what a plan depends on beside the bundle and the wish: the host, the site,
// and who calls.
type Scene struct {
	// Config is the site's. Make puts the user's settings over it.
	Config *config.Config

	// Host is the view of this machine. CacheDir keeps what providers find out about
	// it from one call to the next: a directory that is the caller's alone; empty for
	// none.
	Host     *host.Tree
	CacheDir string

	// Slurm says that a task of Slurm's is launched, as srun starts it. Otherwise an
	// engine calls, or a user by hand.
	Slurm bool

	// CanBecome says that the caller's process can become the application, as run's
	// can and create's cannot.
	CanBecome bool

	// Root says that the caller began as root: hpc is for users.
	Root bool

	UID, GID int    // of the caller
	Workdir  string // of the job or the caller; empty when it is not known
	Terminal string // path of the one on the caller's stdin, such as /dev/pts/0; empty for none
}

// A Result is what is to be done to a bundle, and what there is to say about it.
type Result struct {
	// Edits are in the order in which they apply.
	Edits []bundle.Edit

	// Warnings and Hint are for whoever runs the container, a line each. Hint is
	// empty for none.
	Warnings []string
	Hint     string

	// Notes are lines for the log: nothing went wrong, and something was ignored.
	Notes []string

	// InPlace says that the profile is hpc, whose containers can be launched without a
	// supervisor.
	InPlace bool
}

// A composition is a Result in the making.
type composition struct {
	bundle  *bundle.Bundle
	request request.Request
	scene   Scene
	image   *host.Tree // of the bundle's root file system; opened once, where anybody needs it
	Result
}

// Make composes the launch of b. Each provider sees the bundle as those before it leave
// it, so b has all edits applied in the end; after an error it is good for nothing.
func Make(b *bundle.Bundle, r request.Request, s Scene) (Result, error) {
	p := &composition{bundle: b, request: r, scene: s}
	defer p.close()
	choice, err := p.decide()
	if err != nil {
		return Result{}, err
	}
	p.InPlace = choice.Value == config.ProfileHPC
	if !p.InPlace && r.Workdir != "" {
		p.Notes = append(p.Notes, fmt.Sprintf("--cwd has no effect under the profile oci (%s): process.cwd counts", choice.By))
	}

	providers := []func() error{p.gpus}
	if p.InPlace {
		providers = []func() error{func() error { return p.hpc(choice) }, p.gpus}
		if s.Slurm {
			providers = append(providers, p.torch, p.slurmInside, p.mpi)
		}
	}
	for _, provide := range providers {
		if err := provide(); err != nil {
			return Result{}, err
		}
	}
	return p.Result, nil
}

// decide lets the site judge the wish, and returns the profile.
func (p *composition) decide() (request.Choice, error) {
	s := p.scene
	if s.Slurm {
		p.Notes = append(p.Notes, request.UnknownVariables(p.env())...)
		for _, set := range p.request.Settings {
			if err := s.Config.Override(set.Key, set.Value, set.By); err != nil {
				return request.Choice{}, err
			}
		}
	}
	choice, err := profile.Choose(s.Config, p.request.Profile, s.Slurm && s.CanBecome && !s.Root)
	if err == nil && choice.Value == config.ProfileHPC && s.Root {
		err = fmt.Errorf("%s %s: %w", choice.By, choice.Value, ErrRoot)
	}
	return choice, err
}

// apply adds edits to the plan and to the bundle.
func (p *composition) apply(edits ...bundle.Edit) error {
	p.Edits = append(p.Edits, edits...)
	return p.bundle.Apply(edits...)
}

func (p *composition) warn(lines ...string) { p.Warnings = append(p.Warnings, lines...) }

func (p *composition) env() []string { return p.bundle.Spec.Process.Env }

// openImage returns the view of the image, the same for every provider.
func (p *composition) openImage() (*host.Tree, error) {
	var err error
	if p.image == nil {
		p.image, err = host.Open(p.bundle.Rootfs, host.Kernel{})
	}
	return p.image, err
}

func (p *composition) close() {
	if p.image != nil {
		p.image.Close()
	}
}

// container is what internal/mpi is to know of the container, as earlier edits leave it.
func (p *composition) container() (mpi.Request, error) {
	image, err := p.openImage()
	return mpi.Request{
		Node: p.scene.Host, Image: image, Arch: goruntime.GOARCH, Env: p.env(), Mounts: p.bundle.Spec.Mounts,
		LoaderCache: p.loaderCache(), CacheDir: p.scene.CacheDir,
	}, err
}

// loaderCache is the loader's cache as earlier edits leave it; nil for the image's own.
func (p *composition) loaderCache() []byte {
	for _, f := range p.bundle.Files {
		if f.Path == host.LoaderCache {
			return f.Data
		}
	}
	return nil
}
