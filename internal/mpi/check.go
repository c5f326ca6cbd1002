package mpi

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// check has the loader's rules run over what the container will have: each library that
// is needed must be there, with the versions of symbols that are needed of it, and the MPI
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

// readImage has the image's libraries read ahead that go by the names of the node's.
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

// checkNeeded looks for libraries that are nowhere; what was missing before is not our
// doing.
func (r *replacement) checkNeeded(p, before *linker.Process) error {
	for _, m := range p.Missing {
		known := before != nil && slices.ContainsFunc(before.Missing, func(b linker.Missing) bool { return b.Name == m.Name })
		if !known {
			return r.mismatch("%s needs %s, which neither the image has nor the node gives", r.whose(m.By.Object), m.Name)
		}
	}
	return nil
}

// checkVersions looks for versions of symbols that a library needs and the one that is
// loaded does not have: the loader would end the program for each.
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

// whose names a file and where it is from.
func (r *replacement) whose(o *linker.Object) string {
	if o.In.Tree == r.Host {
		return "the node's " + o.File
	}
	return "the image's " + o.At
}

// greatestLike is the greatest of the versions with the name of another, such as
// GLIBC_2.36 for GLIBC_2.38.
func greatestLike(version string, versions []string) string {
	at := strings.LastIndex(version, "_") + 1
	if v := host.Greatest(version[:at], versions); at > 0 && v != "" {
		return "only up to " + version[:at] + v
	}
	return "none"
}

// checkParts refuses a program that loads a part of the image's MPI still: what the
// site's does not have, or what is found where nothing could be put in its place.
func (r *replacement) checkParts(p *linker.Process) error {
	for _, o := range p.Objects {
		if o.By == nil && p.Main != nil && o == p.Main || r.isSites(o.Object) {
			continue
		}
		if _, ok := identifyMPI(o.Object); ok {
			return r.mismatch("%s would be loaded still", r.whose(o.Object))
		}
		if isMPIPart(o.Name()) && r.given[o.Name()] == nil && o.By != nil {
			return r.mismatch("%s needs %s, which is a part of the image's MPI that the site's %s does not have",
				o.By.At, o.Name(), path.Base(r.site.Path))
		}
	}
	return nil
}

// isSites reports whether an object is one of the node: by its place, or as a file
// of the node that the container shows somewhere.
func (r *replacement) isSites(o *linker.Object) bool {
	return o.In.Tree == r.Host || slices.ContainsFunc(r.used, func(site *linker.Object) bool { return site.ID == o.ID })
}

// checkPlugins has what is loaded later looked at, too. A plugin that lacks a library
// will not be loaded, and is none of our business.
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
