package plan

import (
	"fmt"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/request"
)

// mpi makes the task run on the site's MPI. It runs last, since it depends on all mounts and on the
// environment of the loader.
func (p *composition) mpi() error {
	profiles := p.scene.Config.MPI
	if len(profiles) == 0 && !mpi.Doubtful(p.env()) {
		return nil
	}
	seen, err := p.lookInside()
	if err != nil {
		return fmt.Errorf("plan MPI: %w", err)
	}
	args := p.bundle.Spec.Process.Args
	r := mpi.Request{Scene: seen, Program: args[0], Args: args[1:]}
	own := p.request.MPI.Value == request.MPIOwn
	if !own { // otherwise only the hint remains
		r.Profiles = mpiProfiles(profiles)
	}
	proposed, err := mpi.Edits(r)
	if err != nil {
		return fmt.Errorf("plan MPI: %w", err)
	}
	if own {
		proposed.Edits = append(proposed.Edits, bundle.Edit{From: "mpi", Rule: "the image's own: " + p.request.MPI.By})
	}
	return p.accept(proposed)
}

func mpiProfiles(site []config.MPI) []mpi.Profile {
	profiles := make([]mpi.Profile, 0, len(site))
	for _, m := range site {
		profiles = append(profiles, mpi.Profile{
			Name: m.Name, When: m.When, Replace: m.Replace, Closure: m.Closure, ABI: m.ABI, Prefix: m.Prefix,
			Bind: m.Bind, Devices: m.Devices, Set: m.Set, Prepend: m.Prepend, Conflicts: m.Conflicts,
			Fabric: m.Fabric, Require: m.Require, Mismatch: m.Mismatch,
		})
	}
	return profiles
}
