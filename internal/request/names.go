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

// ErrUnknownName says that an annotation with our prefix means nothing to us.
var ErrUnknownName = errors.New("unknown annotation")

// What a user writes to set the key gpu.isolate: the annotation
// org.ocishim.gpu.isolate, or the variable OCISHIM_GPU_ISOLATE.
const (
	annotationPrefix = "org.ocishim."
	variablePrefix   = "OCISHIM_"
)

// The variables of a job, or of its image, beside those that set keys.
const (
	// ProfileVariable chooses the profile.
	ProfileVariable = "OCISHIM_PROFILE"

	// MPIVariable chooses whose MPI a program runs on.
	MPIVariable = "OCISHIM_MPI"

	// ExplainVariable asks for an explanation in place of the start: 1, json, diff
	// or verify.
	ExplainVariable = "OCISHIM_EXPLAIN"
)

// optionPrefix is what annotations begin with that name options of Slurm's, which
// scrun checks.
const optionPrefix = annotationPrefix + "slurm."

// ownAnnotations are the rest: choices, and what ocishim says of a container, which
// comes back when a state is made a bundle again.
const ownAnnotations = "profile mpi image output job step nodes failure version"

// CheckAnnotations reports the first annotation with our prefix that is misspelt: it
// would be a wish that is ignored. All others are somebody else's. The error is an
// ErrUnknownName.
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

// annotationKeys are the names of our annotations, without the prefix.
func annotationKeys() []string { return append(config.GPUKeys(), strings.Fields(ownAnnotations)...) }

// UnknownVariables returns a line for each variable with our prefix that means nothing
// to us. It is no error: the environment is the user's, and may serve others.
func UnknownVariables(env []string) []string {
	known := []string{ProfileVariable, MPIVariable, ExplainVariable}
	var lines []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || strings.HasPrefix(name, variablePrefix+"GPU_") || slices.Contains(known, name) {
			continue // those of GPUs are settings
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
