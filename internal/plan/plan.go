// Package plan composes what is done to a bundle before it is launched: who has a
// say, and in which order. It decides nothing else.
package plan

import (
	"fmt"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/slurm"
)

// Edits lists the edits of a bundle, in the order in which they apply.
func Edits(b *bundle.Bundle, r profile.Request) ([]bundle.Edit, error) {
	var edits []bundle.Edit
	if r.Choice.Name == config.ProfileHPC {
		hpc, err := profile.HPC(b.Spec, r)
		if err != nil {
			return nil, fmt.Errorf("plan profile %s: %w", r.Choice.Name, err)
		}
		edits = append(edits, hpc)
		if pmix := slurm.PMIx(b, r.Exists); len(pmix.Mounts) > 0 {
			edits = append(edits, pmix)
		}
	}
	return edits, nil
}
