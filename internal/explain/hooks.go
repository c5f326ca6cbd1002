package explain

import (
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A hookAt is a hook and the moment at which it runs.
type hookAt struct {
	specs.Hook
	moment string
}

func hooks(h *specs.Hooks) []hookAt {
	if h == nil {
		return nil
	}
	var all []hookAt
	for _, list := range []struct {
		moment string
		hooks  []specs.Hook
	}{
		{"prestart", h.Prestart}, //nolint:staticcheck // deprecated, but CDI has it
		{"createRuntime", h.CreateRuntime},
		{"createContainer", h.CreateContainer},
		{"startContainer", h.StartContainer},
		{"poststart", h.Poststart},
		{"poststop", h.Poststop},
	} {
		for _, hook := range list.hooks {
			all = append(all, hookAt{hook, list.moment})
		}
	}
	return all
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
