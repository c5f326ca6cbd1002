package request

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrUnknownName says that ocishim does not know an annotation with its prefix.
var ErrUnknownName = errors.New("unknown annotation")

// To set the key gpu.isolate a user writes the annotation org.ocishim.gpu.isolate, or the variable
// OCISHIM_GPU_ISOLATE.
const (
	annotationPrefix = "org.ocishim."
	variablePrefix   = "OCISHIM_"
)

// These are the variables of a job, or of its image, other than those that set keys.
const (
	// ProfileVariable chooses the profile.
	ProfileVariable = "OCISHIM_PROFILE"

	// MPIVariable chooses whose MPI a program runs on.
	MPIVariable = "OCISHIM_MPI"

	// ExplainVariable asks for an explanation instead of a start: 1, json, diff or verify.
	ExplainVariable = "OCISHIM_EXPLAIN"

	// PullVariable says when a registry is asked for an image: missing, always or never.
	PullVariable = "OCISHIM_PULL"

	// These hold credentials for registries, which ocishim-image reads.
	usernameVariable, passwordVariable = "OCISHIM_REGISTRY_USERNAME", "OCISHIM_REGISTRY_PASSWORD"
)

// optionPrefix begins the annotations that name options of Slurm. scrun checks them.
const optionPrefix = annotationPrefix + "slurm."

// ownAnnotations are the others: choices, and annotations that ocishim itself writes, which come
// back if a state becomes a bundle again.
const ownAnnotations = "profile mpi image environment pull output job step nodes failure version"

// CheckAnnotations reports the first misspelt annotation with our prefix, which would otherwise be
// ignored. Other annotations belong to other programs. The error is an ErrUnknownName.
func CheckAnnotations(annotations map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		key, ours := strings.CutPrefix(name, annotationPrefix)
		if !ours || strings.HasPrefix(name, optionPrefix) {
			continue
		}
		known := annotationKeys()
		if slices.Contains(known, key) {
			continue
		}
		if near := text.Nearest(key, known); near != "" {
			return fmt.Errorf("%w %s: did you mean %s?", ErrUnknownName, text.Printable(name), annotationPrefix+near)
		}
		return fmt.Errorf("%w %s", ErrUnknownName, text.Printable(name))
	}
	return nil
}

// annotationKeys returns the names of our annotations, without the prefix.
func annotationKeys() []string {
	return append(append(config.GPUKeys(), strings.Fields(ownAnnotations)...), keyNames()...)
}

// UnknownVariables returns a line for each unknown variable with our prefix. That is not an error,
// since other programs may use the user's environment.
func UnknownVariables(env []string) []string {
	known := []string{ProfileVariable, MPIVariable, ExplainVariable, PullVariable, usernameVariable, passwordVariable}
	for _, k := range Keys() {
		known = append(known, k.Variable())
	}
	var lines []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || strings.HasPrefix(name, variablePrefix+"GPU_") || slices.Contains(known, name) {
			continue // variables that begin so are settings
		}
		line := "unknown variable " + text.Printable(name)
		if near := text.Nearest(strings.TrimPrefix(name, variablePrefix), suffixes(known)); near != "" {
			line += ": did you mean " + variablePrefix + near + "?"
		}
		lines = append(lines, line)
	}
	return lines
}

// suffixes returns the names without our prefix.
func suffixes(names []string) []string {
	cut := make([]string, len(names))
	for i, name := range names {
		cut[i] = strings.TrimPrefix(name, variablePrefix)
	}
	return cut
}
