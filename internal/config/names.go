package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// ErrUnknownName says that an annotation with our prefix means nothing to us.
var ErrUnknownName = errors.New("unknown annotation")

// The variables of a job, or of its image, beside those of the tables of keys.
const (
	// ProfileVariable chooses the profile.
	ProfileVariable = "OCISHIM_PROFILE"

	// otherVariables are read elsewhere, or only set by us.
	otherVariables = "OCISHIM_EXPLAIN OCISHIM_MPI"
)

// OptionPrefix is what annotations begin with that name options of Slurm's, for scrun,
// which checks them.
const OptionPrefix = annotationPrefix + "slurm."

// ownAnnotations are the rest: choices, and what we say of a container, which comes back
// when a state is made a bundle again.
const ownAnnotations = "profile mpi output job step nodes failure version"

// CheckAnnotations says which annotation with our prefix is misspelt: ignored, it would be
// a decision that is not carried out. All others are somebody else's.
func CheckAnnotations(annotations map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		key, ours := strings.CutPrefix(name, annotationPrefix)
		if !ours || strings.HasPrefix(name, OptionPrefix) {
			continue
		}
		known := annotationKeys()
		if slices.ContainsFunc(known, func(s setting) bool { return s.key == key }) {
			continue
		}
		if near := nearest(key, known); near != "" {
			return fmt.Errorf("%w %s: did you mean %s?", ErrUnknownName, text.Printable(name), annotationPrefix+near)
		}
		return fmt.Errorf("%w %s", ErrUnknownName, text.Printable(name))
	}
	return nil
}

// annotationKeys are the names of our annotations, without the prefix.
func annotationKeys() []setting {
	keys := new(GPU).settings()
	for name := range strings.FieldsSeq(ownAnnotations) {
		keys = append(keys, setting{key: name})
	}
	return keys
}

// UnknownVariables has a line for each variable with our prefix that means nothing to
// us. It is no error: the environment is the user's, and may serve others, too.
func UnknownVariables(env []string) []string {
	var lines []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		suffix, ours := strings.CutPrefix(name, variablePrefix)
		if !ours || strings.HasPrefix(name, variablePrefix+"GPU_") || slices.Contains(variableNames(), name) {
			continue // those of GPUs are Override's
		}
		line := "unknown variable " + text.Printable(name)
		var known []setting
		for _, v := range variableNames() {
			known = append(known, setting{key: strings.TrimPrefix(v, variablePrefix)})
		}
		if near := nearest(suffix, known); near != "" {
			line += ": did you mean " + variablePrefix + near + "?"
		}
		lines = append(lines, line)
	}
	return lines
}

func variableNames() []string { return append(strings.Fields(otherVariables), ProfileVariable) }
