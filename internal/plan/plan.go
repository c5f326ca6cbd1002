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
	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

// ErrRoot says that root asked for a launch that is for users.
var ErrRoot = errors.New("it is for users, not for root")

// A Scene is what a plan depends on beside the bundle and the wish: the host, the site,
// and who calls. Of the scene that providers see, Host and CacheDir are the caller's to
// fill in; Make adds the image and the container.
type Scene struct {
	scene.Scene

	// Config is the site's. Make puts the user's settings over it.
	Config *config.Config

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
	// Proposal has the edits of all providers, in the order in which they apply.
	scene.Proposal

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
	scene   Scene // its image is opened once, where a provider needs it
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

// image returns the view of the image, the same for every provider.
func (p *composition) image() (*host.Tree, error) {
	var err error
	if p.scene.Image == nil {
		p.scene.Image, err = host.Open(p.bundle.Rootfs, host.Kernel{})
	}
	return p.scene.Image, err
}

func (p *composition) close() {
	if p.scene.Image != nil {
		p.scene.Image.Close()
	}
}

// look returns the scene as a provider is to see it now. The image is not opened for it.
func (p *composition) look() scene.Scene {
	s := p.scene.Scene
	s.Arch = goruntime.GOARCH
	s.Env, s.Cwd, s.Mounts, s.Links = p.env(), p.bundle.Spec.Process.Cwd, p.bundle.Spec.Mounts, p.bundle.Links
	for _, f := range p.bundle.Files {
		if f.Path == ldcache.Path {
			s.LoaderCache = f.Data
		}
	}
	return s
}

// lookInside returns the scene with the image.
func (p *composition) lookInside() (scene.Scene, error) {
	_, err := p.image()
	return p.look(), err
}

// accept takes over what a provider proposes.
func (p *composition) accept(proposed scene.Proposal) error {
	p.Warnings = append(p.Warnings, proposed.Warnings...)
	if proposed.Hint != "" {
		p.Hint = proposed.Hint
	}
	return p.apply(proposed.Edits...)
}
