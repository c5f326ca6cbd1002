// Package mpi has a container's MPI program run on the site's MPI and fabric. It finds
// out which MPI the program is linked with, by the rules of the loader and without
// running anything, chooses the site's profile for it, and works out as edits what puts
// the site's libraries in the place of the image's; or it says why they do not fit.
// docs/mpi.md has the rules.
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

// A Request is what is known of a task.
type Request struct {
	scene.Scene

	Program string   // process.args[0]
	Args    []string // what follows it

	// Profiles are the site's; the first that fits counts.
	Profiles []Profile
}

// ErrMismatch says that the site's MPI cannot take the place of the image's.
var ErrMismatch = errors.New("the site's MPI does not fit")

// A mismatch is why.
type mismatch struct {
	who, reason string
	use         *use // which it is about; nil for all
}

func (m *mismatch) Error() string { return m.who + ": " + oneLine(m.reason) }

func (m *mismatch) Is(target error) bool { return target == ErrMismatch }

// edited is what our edits come from.
const edited = "mpi"

// A plan is a result in the making.
type plan struct {
	Request
	env      environment
	seen     *witnesses
	image    *loader
	node     *loader
	program  program
	programs Programs // of Provide
	uses     []*use   // the MPIs that it comes to
	unfound  []string // what is said of programs whose MPI is nowhere
	ofStep   []string // warnings that are the same on every node
	speaks   Library  // the MPI that the program, or what it executes, will run with; no Family: none is known
	wrapping bool     // the program is linked with none itself, and may execute one that is
	needs    []string // patterns of devices, of each of which there must be one
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

// warn leaves what this task is to say for others: what differs from node to node the
// first on each, what does not the first of the step.
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

// oneLine is a text for a terminal: names in it are an image's.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// findOut decides, and keeps the decision. The tasks of a step begin at once: while one
// finds out, the others wait and take it over.
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

// onlyHint is all there is for a site without profiles: a look at the program, where its
// ranks may not find each other.
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

// readCaches reads those of the loaders.
func (p *plan) readCaches() error {
	cache, err := p.loaderCache()
	if err != nil {
		return err
	}
	p.image.Cache = cache
	p.seen.Look(p.Host, ldcache.Path)
	if p.node.Cache, err = linker.ReadCache(p.Host); err != nil {
		p.node.Cache = nil // the usual directories are left
	}
	return nil
}

func (p *plan) close() {
	if p.image != nil {
		p.image.Close()
		p.node.Close()
	}
}

// loaderCache is the cache to start from, nil for an image without.
func (p *plan) loaderCache() (*ldcache.Cache, error) {
	if p.LoaderCache == nil {
		p.seen.Look(p.Image, ldcache.Path)
	}
	return linker.CacheToExtend(p.Image, p.LoaderCache)
}

// names are those by which an MPI that the site has a profile for is asked for.
func (p *plan) names() []string {
	var names []string
	for i := range p.Profiles {
		names = append(names, p.when(&p.Profiles[i])...)
	}
	return names
}

// when are the names that the profile replaces.
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
