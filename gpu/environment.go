package gpu

import "strings"

// An environment is the container's, by name. The last of a name counts, as it
// does after bundle.Apply.
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

// list is a variable's elements, separated by commas, without blanks and empty
// ones; ok tells whether the variable is set at all.
func (env environment) list(name string) (elements []string, ok bool) {
	value, ok := env[name]
	for element := range strings.SplitSeq(value, ",") {
		if element = strings.TrimSpace(element); element != "" {
			elements = append(elements, element)
		}
	}
	return elements, ok
}

// enabled tells whether a variable of NVIDIA's switches a feature on.
func (env environment) enabled(name string) bool { return env[name] == "enabled" }
