package mpi

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// check applies the loader's rules to what the container will have: every needed
// library must be there, with the symbol versions that others need of it, and the MPI
// must be the site's.
func (r *replacement) check() error {
	r.readImage()
	for _, u := range r.uses {
		if err := r.checkUse(u); err != nil {
			if m := (*mismatch)(nil); errors.As(err, &m) {
				m.use = u
			}
			return err
		}
	}
	return nil
}

func (r *replacement) checkUse(u *use) error {
	result := u.loader.With(r.instead)
	var p *linker.Process
	if u.program == nil {
		p = result.Load(moved(r.site.object, r.dir+"/lib/"+r.site.object.Name()))
	} else {
		p = result.Start(u.program, u.opens...)
	}
	if err := r.checkNeeded(p, u.process); err != nil {
		return err
	}
	if err := r.checkVersions(p); err != nil {
		return err
	}
	if err := r.checkParts(p); err != nil {
		return err
	}
	return r.checkPlugins(result, p)
}

// readImage reads the image's libraries with the same names as the host's ahead.
func (r *replacement) readImage() {
	dirs := map[string][]string{}
	for name := range r.given {
		if files := r.image.Cached(name); len(files) > 0 {
			dir, name := linker.Split(files[0])
			dirs[dir] = append(dirs[dir], name)
		}
	}
	for dir, names := range dirs {
		r.image.ReadAhead(dir, names)
	}
}

// checkNeeded looks for missing libraries, except those that the image already lacked.
func (r *replacement) checkNeeded(p, before *linker.Process) error {
	for _, m := range p.Missing {
		known := before != nil && slices.ContainsFunc(before.Missing, func(b linker.Missing) bool { return b.Name == m.Name })
		if !known {
			return r.mismatch("%s needs %s, which neither the image nor the host provides", r.whose(m.By.Object), m.Name)
		}
	}
	return nil
}

// checkVersions looks for symbol versions that a library needs and the loaded library
// does not define: the loader would end the program.
func (r *replacement) checkVersions(p *linker.Process) error {
	for _, o := range p.Objects {
		for _, need := range o.Needs {
			from := p.Names[need.File]
			if from == nil || len(from.Defines) == 0 {
				continue
			}
			for _, version := range need.Versions {
				if !slices.Contains(from.Defines, version) {
					return r.mismatch("%s needs %s of %s, but %s has %s",
						r.whose(o.Object), version, need.File, r.whose(from.Object), greatestLike(version, from.Defines))
				}
			}
		}
	}
	return nil
}

// whose names a file and says whether it is the host's or the image's.
func (r *replacement) whose(o *linker.Object) string {
	if o.In.Tree == r.Host {
		return "the host's " + o.File
	}
	return "the image's " + o.At
}

// greatestLike describes the greatest of the versions with the prefix of another:
// GLIBC_2.36 for GLIBC_2.38.
func greatestLike(version string, versions []string) string {
	at := strings.LastIndex(version, "_") + 1
	if v := host.Greatest(version[:at], versions); at > 0 && v != "" {
		return "only up to " + version[:at] + v
	}
	return "none"
}

// checkParts refuses a program that would still load a part of the image's MPI: a part
// that the site's MPI lacks, or one in a place that cannot be covered.
func (r *replacement) checkParts(p *linker.Process) error {
	for _, o := range p.Objects {
		if o.By == nil && p.Main != nil && o == p.Main || r.isSites(o.Object) {
			continue
		}
		if _, ok := identifyMPI(o.Object); ok {
			return r.mismatch("%s would still be loaded", r.whose(o.Object))
		}
		if isMPIPart(o.Name()) && r.given[o.Name()] == nil && o.By != nil {
			return r.mismatch("%s needs %s, which is a part of the image's MPI that the site's %s does not have",
				o.By.At, o.Name(), path.Base(r.site.Path))
		}
	}
	return nil
}

// isSites reports whether an object is a file of the host, given by us or mounted
// otherwise.
func (r *replacement) isSites(o *linker.Object) bool {
	return o.In.Tree == r.Host || slices.ContainsFunc(r.used, func(site *linker.Object) bool { return site.ID == o.ID })
}

// checkPlugins checks what is loaded later. A plugin that lacks a library will not be
// loaded, and does not matter.
func (r *replacement) checkPlugins(result *linker.Loader, before *linker.Process) error {
	var roots []*linker.Object
	for _, o := range r.fabric.plugins {
		if before.Names[o.Name()] == nil {
			roots = append(roots, o)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	p := result.Load(append(roots, before.Objects[0].Object)...)
	return r.checkVersions(p)
}
