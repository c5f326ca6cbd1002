package plan

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/slurm"
)

// hpc applies the hpc profile, and shows the container the server of srun --mpi=pmix. That depends
// only on the mounts of config.json.
func (p *composition) hpc(choice request.Choice) error {
	workdir := p.request.Workdir
	if workdir == "" {
		workdir = p.scene.Workdir
	}
	if p.request.OwnDirectory {
		workdir = ""
	}
	edit, err := profile.HPC(p.bundle.Spec, profile.Request{
		Config: p.scene.Config, Choice: choice,
		UID: p.scene.UID, GID: p.scene.GID,
		Home: p.home(), Workdir: workdir,
		Exists: p.scene.Host.Exists, InImage: p.isDirectoryInImage,
		OwnTerminal: p.bundle.Spec.Process.Terminal && p.scene.Terminal == "",
	})
	if err != nil {
		return fmt.Errorf("plan profile %s: %w", choice.Value, err)
	}
	edits := []bundle.Edit{edit}
	if pmix := slurm.PMIx(p.bundle, p.scene.Host.Exists); len(pmix.Mounts) > 0 {
		edits = append(edits, pmix)
	}
	return p.apply(edits...)
}

// home returns the home directory of the caller in this host's /etc/passwd, or $HOME of
// the job for a user without an entry.
func (p *composition) home() string {
	if u, err := user.LookupId(strconv.Itoa(p.scene.UID)); err == nil {
		return u.HomeDir
	}
	home, _ := bundle.Getenv(p.env(), "HOME")
	return home
}

func (p *composition) isDirectoryInImage(path string) bool {
	image, err := p.image()
	return err == nil && filepath.IsAbs(path) && image.IsDir(path)
}
