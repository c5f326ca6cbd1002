package mpi

import (
	"fmt"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/scene"
)

// BenchmarkEdits uses Debian's own roots, which hack/cluster root --mpi makes, and
// replaces one release's MPI by the other's. Cold is without a kept decision, warm is
// with one.
func BenchmarkEdits(b *testing.B) {
	for _, mpi := range []string{"mpich", "openmpi"} {
		r := debian(b, mpi)
		for _, kept := range []struct{ name, dir string }{{"cold", ""}, {"warm", b.TempDir()}} {
			b.Run(mpi+"/"+kept.name, func(b *testing.B) {
				r.CacheDir = kept.dir
				for b.Loop() {
					result, err := Edits(r)
					if err != nil || len(result.Edits) != 1 || len(result.Edits[0].Links) < 3 {
						b.Fatalf("%+v, %v", result, err)
					}
				}
			})
		}
	}
}

// BenchmarkHint measures what the first of several tasks pays on a site without
// profiles, and what a shell script pays on a site with one, with a kept decision.
func BenchmarkHint(b *testing.B) {
	for name, args := range map[string][]string{"plain": {"/bin/true"}, "shell": {"/bin/sh", "-c", "cd /tmp; mkdir -p x; ls; exec cat x"}} {
		for _, profiles := range []int{0, 1} {
			r := debian(b, "mpich")
			r.Profiles, r.CacheDir = r.Profiles[:profiles], b.TempDir()
			r.Program, r.Args, r.Env = args[0], args[1:], []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SLURM_NTASKS=2", "SLURM_PROCID=0", "PMIX_RANK=0"}
			b.Run(fmt.Sprintf("%s/%d_profiles", name, profiles), func(b *testing.B) {
				for b.Loop() {
					if result, err := Edits(r); err != nil || result.Hint != "" {
						b.Fatalf("%+v, %v", result, err)
					}
				}
			})
		}
	}
}

// debian is a program of the newer Debian, linked with its MPI, on a host of the older.
func debian(b *testing.B, mpi string) Request {
	b.Helper()
	open := func(suite string) *host.Tree {
		root, err := filepath.Abs(filepath.Join("..", "..", "build", suite+"-mpi"))
		if err != nil {
			b.Fatal(err)
		}
		tree, err := host.Open(root, nil)
		if err != nil {
			b.Skip("run hack/cluster root --mpi for " + suite)
		}
		b.Cleanup(tree.Close)
		return tree
	}
	r := Request{
		Scene: scene.Scene{
			Host: open("bookworm"), Image: open("trixie"), Arch: "amd64", Cwd: "/",
			Mounts: []specs.Mount{{Destination: "/dev", Source: "/dev", Options: []string{"rbind"}}},
		},
		Program:  "/bin/sh",
		Profiles: []Profile{{Name: "site", Replace: []string{debianLib + "/libmpich.so.12"}}},
	}
	if mpi == "openmpi" {
		r.Profiles[0].Replace, r.Profiles[0].Prefix = []string{debianLib + "/libmpi.so.40"}, "/usr"
	}
	return r
}
