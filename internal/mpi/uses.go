package mpi

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/linker"
)

// A use is an MPI that the task uses: through its program, or through one that the
// program executes or opens.
type use struct {
	mpi     Library
	loader  *loader        // by whose rules it was found
	program *linker.Object // nil if only the image is known
	opens   []string
	process *linker.Process
	who     string // for messages; empty for the task's own program

	// certain means that the command uses it without doubt. Others are also replaced,
	// but no warning or hint mentions them.
	certain bool

	static bool // it is inside the program
}

// mostUses bounds how many MPIs of a command are examined.
const mostUses = 16

// add records a use, once for each MPI and program.
func (p *plan) add(u *use) {
	same := func(v *use) bool {
		return v.mpi.Path == u.mpi.Path && v.program == u.program && slices.Equal(v.opens, u.opens)
	}
	if i := slices.IndexFunc(p.uses, same); i >= 0 {
		p.uses[i].certain = p.uses[i].certain || u.certain
		return
	}
	if len(p.uses) < mostUses {
		p.uses = append(p.uses, u)
	}
}

// findUses finds the MPIs that the task uses.
func (p *plan) findUses() {
	p.program = p.image.examine(p.Program, p.Cwd, p.env.list("PATH"))
	p.wrapping = p.program.kind == Wrapping
	if p.program.kind == Static {
		p.speaks = p.program.mpi
	}
	if p.program.mpi.Family != "" && p.program.kind != Static {
		p.add(&use{mpi: p.program.mpi, loader: p.image, program: p.program.object, process: p.program.process, certain: true})
	}
	if p.wrapping {
		p.followCommand()
		if mpi := p.image.ofImage(p.names()); mpi.Family != "" {
			p.add(&use{mpi: mpi, loader: p.image})
		}
	}
	if u := p.firstCertain(); u != nil {
		p.speaks = u.mpi
	}
}

// firstCertain returns the use by which the ranks of the step connect; nil for none.
func (p *plan) firstCertain() *use {
	for _, u := range p.uses {
		if u.certain {
			return u
		}
	}
	return nil
}

// decide chooses between the site's MPI and the image's.
func (p *plan) decide() error {
	p.findUses()
	if p.program.kind == Static {
		p.leave("the program has a statically linked MPI")
		p.warnOwn("the program has a statically linked MPI, which the site's cannot replace")
		return nil
	}
	var profile *Profile
	var fitting []*use
	for _, u := range p.uses {
		of, ok := p.choose(u)
		if !ok || profile != nil && of != profile {
			why := "no profile of the site matches it"
			if ok {
				why = fmt.Sprintf("mpi.%s matches it, but a task can use only one of the site's MPIs, here mpi.%s", of.Name, profile.Name)
			}
			p.leaveUse(u, why)
			continue
		}
		profile, fitting = of, append(fitting, u)
	}
	for _, who := range p.unfound {
		p.warnOwn(who)
	}
	if profile == nil {
		return nil
	}
	return p.replaceAll(profile, fitting)
}

// replaceAll replaces every MPI that the site's fits.
func (p *plan) replaceAll(profile *Profile, uses []*use) error {
	for len(uses) > 0 {
		before := len(p.needs)
		err := p.replace(profile, uses)
		if !errors.Is(err, ErrMismatch) {
			return err
		}
		if profile.Mismatch == MismatchRefuse && p.program.kind == Linked {
			return fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		p.needs = p.needs[:before]
		failed := uses[0]
		if m := (*mismatch)(nil); errors.As(err, &m) && m.use != nil {
			failed = m.use
		}
		uses = slices.DeleteFunc(slices.Clone(uses), func(u *use) bool { return u == failed })
		if failed.certain || len(uses) == 0 && p.firstCertain() == nil {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%v; %s", err, failed.own()))
		}
		if len(uses) == 0 {
			p.leave(fmt.Sprintf("the image's own %s: %v", failed.mpi, err))
		}
	}
	return nil
}

// own says that the program's own MPI is used.
func (u *use) own() string {
	if u.who == "" {
		return fmt.Sprintf("the image's own %s is used", u.mpi)
	}
	return fmt.Sprintf("%s uses its own %s in %s", u.who, u.mpi, path.Dir(u.mpi.Path))
}

// leaveUse handles a use without a profile, or with another profile than the first's.
func (p *plan) leaveUse(u *use, why string) {
	if u.static {
		why = "it is linked statically"
	}
	if u.certain {
		p.warnOwn(u.own() + ": " + why)
	}
	p.leave(fmt.Sprintf("the image's own %s: %s", u.mpi, why))
}

// warnOwn warns that a program does not run on the site's MPI although nothing is
// wrong.
func (p *plan) warnOwn(text string) {
	if !slices.Contains(p.ofStep, text) {
		p.ofStep = append(p.ofStep, text)
	}
}

// leave records why nothing is replaced.
func (p *plan) leave(why string) {
	if !slices.ContainsFunc(p.Edits, func(e bundle.Edit) bool { return e.Rule == why }) {
		p.Edits = append(p.Edits, bundle.Edit{From: edited, Rule: why})
	}
}

// choose finds the first profile for an MPI.
func (p *plan) choose(u *use) (*Profile, bool) {
	for i := range p.Profiles {
		profile := &p.Profiles[i]
		if p.matches(profile, u) {
			return profile, true
		}
	}
	return nil, false
}

func (p *plan) matches(profile *Profile, u *use) bool {
	if u.static {
		return false
	}
	name := plainName(u.mpi.Soname)
	if !slices.Contains(p.when(profile), name) && !slices.Contains(profile.When, u.mpi.Soname) || conflicts(profile, u) != "" {
		return false
	}
	// One name may belong to two families: Open MPI 1.10 and MPICH both have
	// libmpi.so.12.
	for _, path := range profile.Replace {
		if o, err := p.node.Open(path); err == nil {
			if site, ok := identifyMPI(o); ok {
				return site.Family == u.mpi.Family
			}
		}
	}
	return true // openSite reports what is wrong with it
}

// conflicts returns a library of a process that is among the profile's conflicts.
func conflicts(profile *Profile, u *use) string {
	if u.process == nil {
		return ""
	}
	for _, pattern := range profile.Conflicts {
		for name := range u.process.Names {
			if name == pattern || strings.HasPrefix(plainName(name), pattern+".so") {
				return name
			}
		}
	}
	return ""
}
