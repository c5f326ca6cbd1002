package gpu

import "strings"

// An environment is the container's, by name. The last entry of a name counts, as in
// bundle.Apply.
type environment map[string]string

func newEnvironment(entries []string) environment {
	env := make(environment, len(entries))
	for _, entry := range entries {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// list returns the comma-separated elements of a variable, without blanks and empty
// elements; ok reports whether the variable is set.
func (env environment) list(name string) (elements []string, ok bool) {
	value, ok := env[name]
	for element := range strings.SplitSeq(value, ",") {
		if element = strings.TrimSpace(element); element != "" {
			elements = append(elements, element)
		}
	}
	return elements, ok
}

// enabled reports whether a variable of NVIDIA's enables a feature.
func (env environment) enabled(name string) bool { return env[name] == "enabled" }
