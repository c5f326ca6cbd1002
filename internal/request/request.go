// Package request holds what a user wants of a container as data, whatever the source: annotations
// of the bundle, variables of the job, options of the command line. internal/plan decides what
// follows from it, and internal/config what the site lets users ask for.
package request

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
)

// A Choice is a word that a user chose, and its source, for messages and `explain`: such as
// "--profile" or "annotation org.ocishim.mpi".
type Choice struct{ Value, By string }

// A Setting is another value for a key of the site's configuration, such as gpu.isolate, as one
// string.
type Setting struct{ Key, Value, By string }

// A Request is everything that a user asks for beyond config.json. The zero value asks for nothing:
// the site decides everything.
type Request struct {
	// Profile is the profile to use, hpc or oci.
	Profile Choice

	// Image is the name of the image that replaces the bundle's root file system.
	Image Choice

	// Pull says when a registry is asked for the image. Annotations of bundles that stand for
	// images say never, if it was forbidden at submission.
	Pull Choice

	// MPI chooses the MPI that a program runs on: MPIOwn or MPISite.
	MPI Choice

	// Settings replace values of the site's configuration. A later one overrides an earlier one of
	// the same key.
	Settings []Setting

	// Workdir is the absolute path of the directory in which the application starts under hpc,
	// instead of the job's.
	Workdir string

	// Mounts are those that the user wants, each at another destination.
	Mounts []Mount

	// Env are changes of variables, each of another one. NoEnv are patterns for the job's variables
	// that the container does not get.
	Env   []Variable
	NoEnv []Choice

	// ContainerWorkdir is the absolute path of the directory in the container in which the
	// application starts, whatever the image and the job say.
	ContainerWorkdir Choice

	// OwnDirectory says that the application starts in the image's directory, and that the job's is
	// not mounted for its own sake.
	OwnDirectory bool

	// Home and Entrypoint are true, false or empty: whether the user's home is in the container,
	// and whether a command is run by the image's ENTRYPOINT.
	Home, Entrypoint Choice

	// Writable is where changes of the image's files go: false for nowhere, WritableTmpfs, perhaps
	// with a colon and a size, WritableDisk, or empty.
	Writable Choice

	// Save is the file to which the image is written with its changes, in the end; empty for none.
	Save Choice

	// RemapRoot is true, false, RootForce or empty: whether the command is root in the container.
	RemapRoot Choice

	// Unshare are the namespaces that the container does not share with the host, each once: net,
	// ipc, uts or pid.
	Unshare []Choice

	// Devices are the qualified names of CDI devices, such as nvidia.com/gpu=0. DeviceNodes are paths
	// in the host's /dev.
	Devices, DeviceNodes []Choice
}

// These are the values of Request.MPI: the image's own MPI, or the site's. The site's is the
// default, so it only serves to override an "own" of the bundle.
const (
	MPIOwn  = "own"
	MPISite = "site"
)

// Read returns what a bundle's annotations and the variables of a job ask for. A variable overrides
// an annotation, since a job sets it when it starts. Engines have no job, so env is nil for them:
// the variables of their containers are the application's. A misspelt name or word is an error even
// if another one overrides it, so that the mistake is not first found by the job that depends on
// it.
//
// withKeys also reads the variables of Keys. They do not count for a bundle: its environment has the
// variables of an image as well, which must not mount anything.
func Read(annotations map[string]string, env []string, withKeys bool) (Request, error) {
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
		Pull:    later(annotated(annotations, "pull"), variable(env, PullVariable)),
		Profile: later(annotated(annotations, "profile"), variable(env, ProfileVariable)),
		MPI:     later(annotated(annotations, "mpi"), variable(env, MPIVariable)),
	}
	if err := r.readWishes(annotations, env); err != nil {
		return Request{}, err
	}
	if err := r.readKeys(annotations, env, withKeys || r.Image.Value != ""); err != nil {
		return Request{}, err
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

// readKeys reads annotations and, over them, pyxis's variables and then ours.
func (r *Request) readKeys(annotations map[string]string, env []string, variables bool) error {
	for _, k := range Keys() {
		c := annotated(annotations, k.Name)
		if err := r.setText(k, c.Value, c.By); err != nil {
			return err
		}
		if !variables {
			continue
		}
		for _, name := range []string{k.Synonym, k.Variable()} {
			if name == "" {
				continue
			}
			value, _ := bundle.Getenv(env, name)
			if err := r.setText(k, value, name); err != nil {
				return err
			}
			if name != k.Variable() {
				if err := r.setOpposite(k, env); err != nil {
					return err
				}
			}
		}
	}
	return nil
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

// isSetting reports whether the key belongs to a table that users can set. The key need not exist:
// config.Override reports that.
func isSetting(key string) bool {
	table, _, _ := strings.Cut(key, ".")
	return table == "gpu"
}
