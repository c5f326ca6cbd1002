package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/internal/slurminside"
)

// torch sets the variables by which torch.distributed knows its ranks, if the site asks for that.
func (p *composition) torch() error {
	if !p.siteWants(config.EditTorch) {
		return nil
	}
	return p.apply(slurm.Torch(p.env()))
}

// slurmInside gives the container the parts of the host's Slurm that the site asks for. Anything
// missing on the host or in the image causes a warning.
func (p *composition) slurmInside() error {
	hasMunge := false
	if p.siteWants(config.EditSlurm) {
		seen, err := p.lookInside()
		if err != nil {
			return fmt.Errorf("plan Slurm's commands: %w", err)
		}
		e, err := slurminside.Commands(seen)
		switch {
		case errors.Is(err, mpi.ErrMismatch), errors.Is(err, slurminside.ErrNoSlurm):
			p.warn(fmt.Sprintf("Slurm's commands are not in the container: %v", err))
		case err != nil:
			return fmt.Errorf("plan Slurm's commands: %w", err)
		default:
			hasMunge = slurminside.HasMunge(e)
			if err := p.apply(e); err != nil {
				return err
			}
		}
	}
	if !p.siteWants(config.EditMunge) || hasMunge {
		return nil
	}
	e, err := slurminside.Munge(p.scene.Host)
	switch {
	case errors.Is(err, slurminside.ErrNoMunge):
		p.warn(fmt.Sprintf("munge's socket is not in the container: %v", err))
		return nil
	case err != nil:
		return fmt.Errorf("plan munge's socket: %w", err)
	}
	return p.apply(e)
}

// siteWants reports whether hpc.edits names the edit.
func (p *composition) siteWants(edit string) bool {
	return slices.Contains(p.scene.Config.HPC.Edits, edit)
}
