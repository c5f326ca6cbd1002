package slurm

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// serverTmpdir is the variable by which srun --mpi=pmix tells a task where its PMIx
// server, slurmstepd, keeps what it shares with the tasks of the step.
const serverTmpdir = "PMIX_SERVER_TMPDIR"

// PMIx is what a task of srun --mpi=pmix needs beside its environment: the server's
// directories at the node's own paths, for it is by these paths that the task learns of
// them. The memory that it shares is in a directory beside the one of the variable, and
// both are where Slurm has put the bundle of the task, which it mounts elsewhere. So it is
// that place which is mounted, or the one directory where it is not beside the bundle. The
// edit has no mount when there is no such server or directory, or a mount of it already.
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
