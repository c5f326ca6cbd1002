package environment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/request"
)

// A Line is one value of an environment, and where it comes from.
type Line struct {
	// Key is such as image, mounts, env.PATH or annotations.com.hooks.cxi.enabled.
	Key string `json:"key"`

	// Value is as it was written, with its ${NAME}, but expanded for image, pull and
	// annotations.
	Value string `json:"value"`

	// By is the file and line.
	By string `json:"by"`
}

// Lines returns what counts of the environment, without what a later file replaces: one line for
// each value of a list and each variable.
func (e *Environment) Lines() []Line {
	var lines []Line
	for key, c := range map[string]request.Choice{"image": e.Image, "pull": e.Pull} {
		if c.Value != "" {
			lines = append(lines, Line{key, c.Value, c.By})
		}
	}
	slices.SortFunc(lines, func(a, b Line) int { return strings.Compare(a.Key, b.Key) })
	var variables []Line
	for _, k := range request.Keys() {
		if k.Name == "env" {
			variables = e.linesOf(k)
			continue
		}
		lines = append(lines, e.linesOf(k)...)
	}
	lines = append(lines, variables...)
	for _, name := range slices.Sorted(maps.Keys(e.Annotations)) {
		lines = append(lines, Line{"annotations." + name, e.Annotations[name].Value, e.Annotations[name].By})
	}
	return lines
}

// linesOf returns the lines of one key.
func (e *Environment) linesOf(k request.Key) []Line {
	var lines []Line
	for _, w := range e.Wishes {
		if w.Key != k.Name {
			continue
		}
		for _, value := range w.Values {
			line := Line{k.Name, value, w.By}
			if k.Name == "env" {
				name, value, _ := strings.Cut(value, "=")
				line.Key, line.Value = "env."+name, value
			}
			same := func(old Line) bool { return replaces(k, line, old) }
			lines = append(slices.DeleteFunc(lines, same), line)
		}
	}
	return lines
}

// replaces reports whether a value takes the place of an older one of the same key.
func replaces(k request.Key, line, old Line) bool {
	switch {
	case k.Name == "mounts":
		a, failed := request.ParseMount(line.Value, "")
		b, failedToo := request.ParseMount(old.Value, "")
		return failed == nil && failedToo == nil && a.Destination == b.Destination
	case k.Form == request.List && k.Name != "env":
		return line.Value == old.Value
	}
	return line.Key == old.Key
}

// TOML returns one file that says the same as all files together, with the origin of each value.
func (e *Environment) TOML() string {
	var b bytes.Buffer
	table := ""
	lines := e.literal()
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		for _, name := range []string{"env", "annotations"} {
			if strings.HasPrefix(line.Key, name+".") && table != name {
				table = name
				fmt.Fprintf(&b, "\n[%s]\n", name)
			}
		}
		if table != "" {
			name := strings.TrimPrefix(line.Key, table+".")
			fmt.Fprintf(&b, "%s = %s # %s\n", keyName(name), quoted(line.Value), line.By)
			continue
		}
		if formOf(line.Key) != request.List {
			fmt.Fprintf(&b, "%s = %s # %s\n", line.Key, written(line), line.By)
			continue
		}
		fmt.Fprintf(&b, "%s = [\n", line.Key)
		for ; i < len(lines) && lines[i].Key == line.Key; i++ {
			fmt.Fprintf(&b, "    %s, # %s\n", quoted(lines[i].Value), lines[i].By)
		}
		i--
		b.WriteString("]\n")
	}
	return b.String()
}

// literal returns the lines as a file says them: a $ in what is expanded already is a $.
func (e *Environment) literal() []Line {
	lines := e.Lines()
	for i, line := range lines {
		if line.Key == "image" || line.Key == "pull" || strings.HasPrefix(line.Key, "annotations.") {
			lines[i].Value = strings.ReplaceAll(line.Value, "$", "$$")
		}
	}
	return lines
}

func formOf(key string) request.Form {
	for _, k := range request.Keys() {
		if k.Name == key {
			return k.Form
		}
	}
	return request.Text
}

// written is a value as TOML.
func written(line Line) string {
	form := formOf(line.Key)
	if form == request.Switch || form == request.SwitchOrText && request.IsSwitch(line.Value) {
		return line.Value
	}
	return quoted(line.Value)
}

// quoted is a string of TOML, which has JSON's escapes.
func quoted(s string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// keyName is a name as TOML has it on the left of =.
func keyName(name string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !bare(r) }) < 0 {
		return name
	}
	return quoted(name)
}
