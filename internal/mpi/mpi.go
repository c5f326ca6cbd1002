// Package mpi makes a container's MPI program run on the site's MPI and fabric. It
// finds out which MPI the program is linked with, by the loader's rules and without
// running anything, chooses the site's profile for it, and works out as edits how the
// site's libraries replace the image's; or it says why they do not fit. docs/mpi.md
// documents the rules.
package mpi

import (
	"errors"
	"strings"
	"unicode"

	"github.com/ocishim/ocishim/internal/cache"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/scene"
)

// A Request describes a task.
type Request struct {
	scene.Scene

	Program string   // process.args[0]
	Args    []string // the other arguments

	// Profiles are the site's; the first that fits is used.
	Profiles []Profile
}

// ErrMismatch means that the site's MPI cannot replace the image's.
var ErrMismatch = errors.New("the site's MPI does not fit")

// A mismatch is the reason.
type mismatch struct {
	who, reason string
	use         *use // the use that it is about; nil for all
}

func (m *mismatch) Error() string { return m.who + ": " + oneLine(m.reason) }

func (m *mismatch) Is(target error) bool { return target == ErrMismatch }

// edited is the From of our edits.
const edited = "mpi"

// A plan is a Result being built.
type plan struct {
	Request
	env      environment
	seen     *witnesses
	image    *loader
	node     *loader
	program  program
	programs Programs // for Provide
	uses     []*use   // the MPIs that the task uses
	unfound  []string // warnings about programs whose MPI was not found
	ofStep   []string // warnings that are the same on every host
	speaks   Library  // the MPI that the program, or what it executes, will run with; no Family if unknown
	wrapping bool     // the program is not linked with an MPI, and may execute one that is
	needs    []string // patterns of devices: one device of each must exist
	scene.Proposal
}

// Edits works out what the container gets.
func Edits(r Request) (scene.Proposal, error) {
	p := &plan{Request: r, env: newEnvironment(r.Env), seen: newWitnesses()}
	defer p.close()
	if len(p.Profiles) == 0 {
		return p.onlyHint()
	}
	if !p.recall() {
		if err := p.findOut(); err != nil {
			return scene.Proposal{}, err
		}
	}
	p.Hint = oneLine(hint(p.env, p.speaks))
	p.warn()
	return p.Proposal, nil
}

// warn drops the warnings that another task prints: the first task of a host prints
// what may differ between hosts, the first of the step prints the rest.
func (p *plan) warn() {
	isFirst := func(variable string) bool { return p.env[variable] == "" || p.env[variable] == "0" }
	var said []string
	if isFirst("SLURM_LOCALID") {
		said = p.Warnings
	}
	if isFirst("SLURM_PROCID") {
		said = append(said, p.ofStep...)
	}
	p.Warnings = nil
	for _, w := range said {
		p.Warnings = append(p.Warnings, oneLine(w))
	}
}

// oneLine makes a text fit for a terminal: names in it come from an image.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// findOut decides, and keeps the decision. The tasks of a step begin at the same time:
// one finds out, and the others wait for its result.
func (p *plan) findOut() error {
	if p.CacheDir != "" {
		defer cache.Alone(p.CacheDir, memoryLock)()
		if p.recall() {
			return nil
		}
	}
	p.look()
	if err := p.readCaches(); err != nil {
		return err
	}
	if err := p.decide(); err != nil {
		return err
	}
	p.keep()
	return nil
}

// onlyHint is for a site without profiles: it only looks at the program if its ranks
// may not find each other.
func (p *plan) onlyHint() (scene.Proposal, error) {
	if !Doubtful(p.Env) {
		return scene.Proposal{}, nil
	}
	p.look()
	if o, _ := p.image.findProgram(p.Program, p.Cwd, p.env.list("PATH")); o != nil && served(p.env, o) {
		return scene.Proposal{}, nil
	}
	cache, err := p.loaderCache()
	if err != nil {
		return scene.Proposal{}, err
	}
	p.image.Cache = cache
	p.findUses()
	return scene.Proposal{Hint: oneLine(hint(p.env, p.speaks))}, nil
}

// look opens the views.
func (p *plan) look() {
	image := linker.NewView(p.Image, p.seen)
	image.Mount(p.Mounts, p.Host)
	image.Make(p.Links, nil)
	p.image = &loader{linker.New(image, p.Arch, nil).In(p.env.ofLoader(p.Cwd))}
	p.image.WithPreloads(p.Image)
	p.image.Machine = p.Host
	p.node = &loader{linker.New(linker.NewView(p.Host, p.seen), p.Arch, nil)}
	p.node.Trusted, p.node.Machine = true, p.Host
}

// readCaches reads the loaders' caches.
func (p *plan) readCaches() error {
	cache, err := p.loaderCache()
	if err != nil {
		return err
	}
	p.image.Cache = cache
	p.seen.Look(p.Host, ldcache.Path)
	if p.node.Cache, err = linker.ReadCache(p.Host); err != nil {
		p.node.Cache = nil // only the usual directories remain
	}
	return nil
}

func (p *plan) close() {
	if p.image != nil {
		p.image.Close()
		p.node.Close()
	}
}

// loaderCache returns the cache to start from, nil for an image without one.
func (p *plan) loaderCache() (*ldcache.Cache, error) {
	if p.LoaderCache == nil {
		p.seen.Look(p.Image, ldcache.Path)
	}
	return linker.CacheToExtend(p.Image, p.LoaderCache)
}

// names returns the SONAMEs that some site profile replaces.
func (p *plan) names() []string {
	var names []string
	for i := range p.Profiles {
		names = append(names, p.when(&p.Profiles[i])...)
	}
	return names
}

// when returns the SONAMEs that the profile replaces.
func (p *plan) when(profile *Profile) []string {
	if len(profile.When) > 0 || len(profile.Replace) == 0 {
		return profile.When
	}
	o, err := p.node.Open(profile.Replace[0])
	if err != nil {
		return nil
	}
	return []string{o.Name()}
}
