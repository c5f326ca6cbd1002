package plan

import (
	"fmt"
	goruntime "runtime"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/mpi"
)

// MPI lists the edits that have a task of the hpc profile run on the site's MPI: after
// all others have been applied, since it depends on what is mounted where, and on what
// the loader is told. The node's files are found below its root. cacheDir is a directory
// of the caller's alone, in which decisions are kept. Warnings are for the user, a line
// each; the hint likewise.
func MPI(b *bundle.Bundle, cfg *config.Config, root, cacheDir string) (mpi.Result, error) {
	if len(cfg.MPI) == 0 && !mpi.Doubtful(b.Spec.Process.Env) {
		return mpi.Result{}, nil
	}
	own, by, err := wantsOwnMPI(b)
	if err != nil {
		return mpi.Result{}, err
	}
	profiles := mpiProfiles(cfg)
	if own {
		profiles = nil // the hint is left
	}
	node, err := host.Open(root, host.Kernel{})
	if err != nil {
		return mpi.Result{}, fmt.Errorf("plan MPI: %w", err)
	}
	defer node.Close()
	image, err := host.Open(b.Rootfs, host.Kernel{})
	if err != nil {
		return mpi.Result{}, fmt.Errorf("plan MPI: %w", err)
	}
	defer image.Close()
	result, err := mpi.Edits(mpi.Request{
		Node: node, Image: image, Arch: goruntime.GOARCH,
		Program: b.Spec.Process.Args[0], Args: b.Spec.Process.Args[1:], Cwd: b.Spec.Process.Cwd, Env: b.Spec.Process.Env, Mounts: b.Spec.Mounts,
		LoaderCache: loaderCache(b), Profiles: profiles, CacheDir: cacheDir,
	})
	if err != nil {
		return mpi.Result{}, fmt.Errorf("plan MPI: %w", err)
	}
	if own {
		result.Edits = append(result.Edits, bundle.Edit{From: "mpi", Rule: "the image's own: " + by})
	}
	return result, nil
}

// By these a user keeps the image's MPI, with the value "own"; "site" is what goes
// without saying, and takes an "own" of the bundle back in the job.
const (
	mpiAnnotation = "org.ocishim.mpi"
	mpiVariable   = "OCISHIM_MPI"
)

// CheckMPI refuses what is no choice: in a task that has no use for it, too, so that a
// word that is written wrong is not found out by the job that needed it.
func CheckMPI(b *bundle.Bundle) error {
	_, _, err := wantsOwnMPI(b)
	return err
}

// wantsOwnMPI tells whether the bundle or the job asks for the image's MPI, the job last.
func wantsOwnMPI(b *bundle.Bundle) (own bool, by string, err error) {
	choose := func(value, who string) {
		switch value {
		case "":
		case "own", "site":
			own, by = value == "own", who
		default:
			err = fmt.Errorf("%s %q: choose own or site", who, value)
		}
	}
	choose(b.Spec.Annotations[mpiAnnotation], "annotation "+mpiAnnotation)
	value, _ := bundle.Getenv(b.Spec.Process.Env, mpiVariable)
	choose(value, mpiVariable)
	return own, by, err
}

// loaderCache is the loader's cache as earlier edits leave it, nil without.
func loaderCache(b *bundle.Bundle) []byte {
	for _, f := range b.Files {
		if f.Path == ldcache.Path {
			return f.Data
		}
	}
	return nil
}

func mpiProfiles(cfg *config.Config) []mpi.Profile {
	profiles := make([]mpi.Profile, 0, len(cfg.MPI))
	for _, m := range cfg.MPI {
		profiles = append(profiles, mpi.Profile{
			Name: m.Name, When: m.When, Replace: m.Replace, Closure: m.Closure, ABI: m.ABI, Prefix: m.Prefix,
			Bind: m.Bind, Devices: m.Devices, Set: m.Set, Prepend: m.Prepend, Conflicts: m.Conflicts,
			Fabric: m.Fabric, Require: m.Require, Mismatch: m.Mismatch,
		})
	}
	return profiles
}
