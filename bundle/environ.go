package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// environ is an environment in which every name occurs once, in order.
type environ struct {
	entries []string
	index   map[string]int // maps a name to its entry
}

// newEnviron collapses repeated names to their last entry. Slurm 22.05 writes such environments,
// and which entry counts depends on the reader: glibc's getenv finds the first, bash the last.
func newEnviron(entries []string) *environ {
	last := make(map[string]int, len(entries))
	for i, entry := range entries {
		last[envName(entry)] = i
	}
	env := &environ{
		entries: make([]string, 0, len(entries)),
		index:   make(map[string]int, len(last)),
	}
	for i, entry := range entries {
		if last[envName(entry)] == i {
			env.set(entry)
		}
	}
	return env
}

// set replaces the entry of the same name in place, or appends it.
func (env *environ) set(entry string) {
	name := envName(entry)
	if i, ok := env.index[name]; ok {
		env.entries[i] = entry
		return
	}
	env.index[name] = len(env.entries)
	env.entries = append(env.entries, entry)
}

// setDefault appends the entry if its name is absent.
func (env *environ) setDefault(entry string) {
	if _, ok := env.index[envName(entry)]; !ok {
		env.set(entry)
	}
}

// prepend puts the value of the entry at the front of the list of the same name. Repeating it
// changes nothing.
func (env *environ) prepend(entry string) {
	name, element, _ := strings.Cut(entry, "=")
	list := ""
	if i, ok := env.index[name]; ok {
		_, list, _ = strings.Cut(env.entries[i], "=")
	}
	switch {
	case list == "":
		env.set(name + "=" + element)
	case list != element && !strings.HasPrefix(list, element+":"):
		env.set(name + "=" + element + ":" + list)
	}
}

// Getenv returns the value of name in a list of NAME=value entries, and reports whether it is
// there. The last entry of a name counts, as after Apply and in libcontainer.
func Getenv(env []string, name string) (value string, found bool) {
	for _, entry := range slices.Backward(env) {
		if value, found = strings.CutPrefix(entry, name+"="); found {
			return value, true
		}
	}
	return "", false
}

// envName returns the part before the first "=".
func envName(entry string) string {
	name, _, _ := strings.Cut(entry, "=")
	return name
}

// checkEnv finds the first entry that is not "NAME=value" (config.md, process.env).
func checkEnv(field string, entries []string) *ConfigError {
	for i, entry := range entries {
		var reason error
		name, _, found := strings.Cut(entry, "=")
		switch {
		case !found:
			reason = errors.New("has no '='")
		case name == "":
			reason = errors.New("has no name before its '='")
		case strings.ContainsRune(entry, 0):
			reason = errors.New("contains a NUL byte")
		default:
			continue
		}
		return &ConfigError{Field: at(field, i), Err: fmt.Errorf("entry %s %w", text.Printable(entry), reason)}
	}
	return nil
}
