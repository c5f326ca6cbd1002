package slurm

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// serverTmpdir is the variable by which srun --mpi=pmix names to a task the directory in which its
// PMIx server, slurmstepd, keeps what it shares with the tasks of the step.
const serverTmpdir = "PMIX_SERVER_TMPDIR"

// PMIx returns the edit that a task of srun --mpi=pmix needs in addition to its environment. It
// mounts the server's directories at the same paths as on the host, since the task gets these paths
// from the server. The shared memory is in a directory beside the one in the variable, and both are
// in the directory where Slurm has put the task's bundle, which Slurm mounts elsewhere. So the edit
// mounts that whole directory, or only the variable's if it is not beside the bundle. The edit has
// no mount if there is no such server or directory, or if it is mounted already.
func PMIx(b *bundle.Bundle, exists func(path string) bool) bundle.Edit {
	e := bundle.Edit{From: "slurm", Rule: serverTmpdir}
	value, _ := bundle.Getenv(b.Spec.Process.Env, serverTmpdir)
	dir := path.Clean(value)
	if path.Dir(dir) == path.Dir(b.Dir) {
		dir = path.Dir(dir)
	}
	if !path.IsAbs(dir) || dir == "/" || !exists(dir) || slices.ContainsFunc(b.Spec.Mounts, func(m specs.Mount) bool {
		return m.Source == m.Destination && (dir == m.Source || strings.HasPrefix(dir, m.Source+"/"))
	}) {
		return e
	}
	e.Exact = []string{dir}
	e.Mounts = []specs.Mount{bundle.Bind(dir, dir, "bind", "nosuid", "nodev")}
	return e
}
