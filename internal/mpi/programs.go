package mpi

import (
	"path"
	"slices"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/scene"
)

// Programs are programs of the host that must run in a container, such as Slurm's.
type Programs struct {
	Name    string   // of their directory in the container; also the origin in messages
	Files   []string // on the host, in one directory
	Plugins string   // a directory of libraries that they load later; empty for none
}

// Provide makes the host's programs run in the container, as a profile does for its
// MPI: with the libraries that they need, checked against the image's. The programs are
// in bin of the returned directory, first in PATH, and their plugins in plugins beside
// it. If they do not fit, the error is ErrMismatch.
func Provide(s scene.Scene, programs Programs) (e bundle.Edit, dir string, err error) {
	p := &plan{Request: Request{Scene: s}, env: newEnvironment(s.Env), seen: newWitnesses(), programs: programs}
	defer p.close()
	dir = bundle.PrivateDir(p.Mounts, programs.Name)
	if p.recall() && len(p.Edits) == 1 {
		return p.Edits[0], dir, nil
	}
	p.look()
	if err := p.readCaches(); err != nil {
		return e, "", err
	}
	r := &replacement{
		plan: p, who: programs.Name, profile: new(Profile), dir: dir,
		given: map[string]*linker.Object{}, over: map[string]*linker.Object{}, added: map[string]*linker.Object{},
	}
	if err := r.findPrograms(programs); err != nil {
		return e, "", err
	}
	p.Edits = []bundle.Edit{r.programsEdit(programs)}
	p.keep()
	return p.Edits[0], dir, nil
}

// programsEdit makes the edit.
func (r *replacement) programsEdit(programs Programs) bundle.Edit {
	e := bundle.Edit{From: programs.Name}
	r.emitPrivate(&e)
	e.Mounts = append(e.Mounts, BindOf(r.source(path.Dir(programs.Files[0])), r.dir+"/programs"))
	for _, file := range programs.Files {
		name := path.Base(file)
		e.Links = append(e.Links, bundle.Link{Path: r.dir + "/bin/" + name, Target: "../programs/" + name})
	}
	e.EnvPrepend = append(e.EnvPrepend, "PATH="+r.dir+"/bin")
	if programs.Plugins != "" {
		e.Mounts = append(e.Mounts, BindOf(r.source(programs.Plugins), r.dir+"/plugins"))
	}
	return e
}

// findPrograms works out what they need, and checks it in the container.
func (r *replacement) findPrograms(programs Programs) error {
	var roots []*linker.Object
	for _, file := range programs.Files {
		o, err := r.node.Open(file)
		if err != nil {
			return err
		}
		roots = append(roots, o)
	}
	if programs.Plugins != "" {
		r.addPlugins(programs.Plugins)
	}
	needed := r.node.Load(roots...)
	for _, p := range []*linker.Process{needed, r.node.Load(slices.Concat(roots, r.fabric.plugins)...)} {
		p.Names = without(p.Names, roots)
		r.give(p)
	}
	result := r.image.With(r.instead)
	var checked *linker.Process
	for i, o := range roots {
		checked = result.Load(moved(o, r.dir+"/bin/"+path.Base(programs.Files[i])))
		if err := r.checkNeeded(checked, needed); err != nil {
			return err
		}
		if err := r.checkVersions(checked); err != nil {
			return err
		}
	}
	return r.checkPlugins(result, checked)
}

// without leaves the objects out.
func without(names map[string]*linker.Loaded, objects []*linker.Object) map[string]*linker.Loaded {
	left := map[string]*linker.Loaded{}
	for name, o := range names {
		if !slices.Contains(objects, o.Object) {
			left[name] = o
		}
	}
	return left
}
