// Package request is a user's wish for a container as data, whoever wrote it where:
// annotations of the bundle, variables of the job, options of the command line. What
// comes of a wish is decided in internal/plan, and what a user may wish for by the
// site, in internal/config.
package request

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
)

// A Choice is a word that a user chose, and where it stands, for messages and
// `explain`: such as "--profile" or "annotation org.ocishim.mpi".
type Choice struct{ Value, By string }

// A Setting is a key of the site's configuration, such as gpu.isolate, to which a user
// gives another value, as one string.
type Setting struct{ Key, Value, By string }

// A Request is all that a user asks for beside what config.json says. The zero value
// asks for nothing: everything is as the site decides.
type Request struct {
	// Profile is the profile to launch by, hpc or oci.
	Profile Choice

	// Image is the name of the image that takes the place of the bundle's root file system.
	Image Choice

	// MPI says whose MPI a program runs on: MPIOwn or MPISite.
	MPI Choice

	// Settings replace values of the site's configuration, in this order: a later
	// one of the same key overrides an earlier one.
	Settings []Setting

	// Workdir is the absolute path of the directory in which the application starts
	// under hpc, in place of the job's.
	Workdir string

	// Devices are the qualified names of CDI devices, such as nvidia.com/gpu=0.
	Devices []string
}

// The values of Request.MPI: the image's own, or the site's. The site's is what a program
// gets without a choice; it takes back an "own" of the bundle.
const (
	MPIOwn  = "own"
	MPISite = "site"
)

// Read returns what a bundle's annotations and the variables of a job ask for, where a
// variable overrides an annotation: a job sets it when it starts. Engines have no job,
// so env is nil then: the variables of their containers are the application's. A name or
// word that is misspelt is an error, also where another one overrides it: the job that
// needs it should not be the one to find out.
func Read(annotations map[string]string, env []string) (Request, error) {
	if err := CheckAnnotations(annotations); err != nil {
		return Request{}, err
	}
	for _, mpi := range []Choice{annotated(annotations, "mpi"), variable(env, MPIVariable)} {
		if mpi.Value != "" && mpi.Value != MPIOwn && mpi.Value != MPISite {
			return Request{}, fmt.Errorf("%s %q: choose %s or %s", mpi.By, mpi.Value, MPIOwn, MPISite)
		}
	}
	r := Request{
		Image:   annotated(annotations, "image"),
		Profile: later(annotated(annotations, "profile"), variable(env, ProfileVariable)),
		MPI:     later(annotated(annotations, "mpi"), variable(env, MPIVariable)),
	}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if key, ours := strings.CutPrefix(name, annotationPrefix); ours && isSetting(key) {
			r.Settings = append(r.Settings, Setting{key, annotations[name], "annotation " + name})
		}
	}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if suffix, ours := strings.CutPrefix(name, variablePrefix); ours {
			if key := strings.ToLower(strings.ReplaceAll(suffix, "_", ".")); isSetting(key) {
				r.Settings = append(r.Settings, Setting{key, value, name})
			}
		}
	}
	return r, nil
}

func annotated(annotations map[string]string, name string) Choice {
	name = annotationPrefix + name
	return Choice{annotations[name], "annotation " + name}
}

func variable(env []string, name string) Choice {
	value, _ := bundle.Getenv(env, name)
	return Choice{value, name}
}

// later returns the last choice that is not empty.
func later(first, second Choice) Choice {
	if second.Value != "" {
		return second
	}
	return first
}

// isSetting reports whether the key is one of the table that users can write to. It
// need not exist: config.Override says so.
func isSetting(key string) bool {
	table, _, _ := strings.Cut(key, ".")
	return table == "gpu"
}
