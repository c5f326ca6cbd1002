// Package plan composes the edits of a bundle before it is launched: which providers contribute,
// and in which order. It decides nothing else.
package plan

import (
	"errors"
	"fmt"
	"slices"

	goruntime "runtime"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

// ErrRoot says that root asked for a launch that is for users only.
var ErrRoot = errors.New("it is for users, not for root")

// A Scene is what a plan depends on besides the bundle and the request: the host, the site, and the
// caller. Of the scene that providers see, the caller fills in Host and CacheDir; Make adds the
// image and the container.
type Scene struct {
	scene.Scene

	// Config is the site's configuration. Make merges the user's settings over it.
	Config *config.Config

	// Stored is the image of a store that provides the root file system; nil for the
	// bundle's own.
	Stored *image.Image

	// Slurm says that this is a task of Slurm's, started by srun. Otherwise an engine or a user
	// calls.
	Slurm bool

	// CanBecome says that the calling process can become the application, which is possible for run
	// and not for create.
	CanBecome bool

	// Root says that the caller started as root: hpc is for users.
	Root bool

	// Scratch is the user's directory on this host's disk for what containers change in images;
	// empty for none.
	Scratch string

	UID, GID int    // of the caller
	Workdir  string // of the job or the caller; empty if unknown
	Terminal string // path of the terminal on the caller's stdin, such as /dev/pts/0; empty for none
}

// A Result lists the changes to a bundle, and the messages about them.
type Result struct {
	// Proposal has the edits of all providers, in the order in which they apply.
	scene.Proposal

	// Notes are lines for the log: nothing went wrong, but something was ignored.
	Notes []string

	// InPlace says that the profile is hpc: its containers can be launched without a supervisor.
	InPlace bool
}

// A composition is a Result under construction.
type composition struct {
	bundle  *bundle.Bundle
	request request.Request
	scene   Scene // its image is opened once, by the first provider that needs it
	Result
}

// Make composes the launch of b. Each provider sees the bundle as earlier providers have left it,
// so in the end b has all edits applied. After an error b must not be used.
func Make(b *bundle.Bundle, r request.Request, s Scene) (Result, error) {
	p := &composition{bundle: b, request: r, scene: s}
	defer p.close()
	choice, err := p.decide()
	if err != nil {
		return Result{}, err
	}
	p.InPlace = choice.Value == config.ProfileHPC
	if err := p.checkWritable(choice); err != nil {
		return Result{}, err
	}
	if !p.InPlace && r.Workdir != "" {
		p.Notes = append(p.Notes, fmt.Sprintf("--cwd has no effect under the profile oci (%s), which uses process.cwd", choice.By))
	}

	if p.InPlace && s.Slurm {
		if err := CheckHooks(b.Spec.Annotations, s.Config, s.Host); err != nil {
			return Result{}, err
		}
	}

	job := slices.Clone(p.env())
	wishes := func() error { return p.wishes(job) }
	providers := []func() error{p.hidden, p.imageConfig, p.remapRoot, p.unshare, wishes, p.deviceNodes, p.gpus}
	if p.InPlace {
		providers = slices.Insert(providers, 2, func() error { return p.hpc(choice) })
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

// decide checks the request against the site's rules, and returns the profile.
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
	var err error
	switch {
	case s.Slurm:
		err = MayAsk(s.Config, p.request)
	case s.Root:
		err = refuseRoots(p.request)
	}
	if err != nil {
		return request.Choice{}, err
	}
	if home := p.request.Home; home.Value != "" {
		s.Config.HPC.Home = home.Value == "true"
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

// image returns the view of the image that all providers share.
func (p *composition) image() (*host.Tree, error) {
	var err error
	if p.scene.Image == nil {
		p.scene.Image, err = host.Open(p.bundle.RootDir(), host.Kernel{})
	}
	return p.scene.Image, err
}

func (p *composition) close() {
	if p.scene.Image != nil {
		p.scene.Image.Close()
	}
}

// look returns the scene as a provider should see it now. It does not open the image.
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

// lookInside returns the scene with the image opened.
func (p *composition) lookInside() (scene.Scene, error) {
	_, err := p.image()
	return p.look(), err
}

// accept adds what a provider proposes.
func (p *composition) accept(proposed scene.Proposal) error {
	p.Warnings = append(p.Warnings, proposed.Warnings...)
	if proposed.Hint != "" {
		p.Hint = proposed.Hint
	}
	return p.apply(proposed.Edits...)
}
