package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
	"github.com/ocishim/ocishim/internal/toml"
)

// TOML returns the configuration in the format that Load reads, with the origin of each
// value as a comment.
func (c *Config) TOML() string {
	var b strings.Builder
	if len(c.Files) == 0 {
		b.WriteString("# no file\n")
	}
	for _, f := range c.Files {
		fmt.Fprintf(&b, "# %s\n", text.Whole(f))
	}
	open := "" // the table of the last line
	for _, s := range c.settings() {
		table, name := tableOf(s.key)
		if mounts, ok := s.value.(*[]Mount); ok && len(*mounts) > 0 {
			c.writeMounts(&b, s.key, *mounts)
			open = s.key
			continue
		}
		if profiles, ok := s.value.(*[]MPI); ok {
			c.writeMPI(&b, s.key, *profiles)
			open = s.key
			continue
		}
		if table != open {
			fmt.Fprintf(&b, "\n[%s]\n", table)
			open = table
		}
		fmt.Fprintf(&b, "%s = %s  # %s\n", name, literal(s.value), c.Origin(s.key))
	}
	return b.String()
}

func (c *Config) writeMounts(b *strings.Builder, key string, mounts []Mount) {
	for i := range mounts {
		fmt.Fprintf(b, "\n[[%s]]  # %s\n", key, c.Origin(toml.Element(key, i)))
		for _, s := range mounts[i].settings() {
			fmt.Fprintf(b, "%s = %s\n", s.key, literal(s.value))
		}
	}
}

func (c *Config) writeMPI(b *strings.Builder, key string, profiles []MPI) {
	for i := range profiles {
		name := key + "." + profiles[i].Name
		fmt.Fprintf(b, "\n[%s]  # %s\n", name, c.Origin(name))
		for _, s := range profiles[i].settings() {
			fmt.Fprintf(b, "%s = %s  # %s\n", s.key, literal(s.value), c.Origin(name+"."+s.key))
		}
	}
}

// tableOf splits a key into its table and its last name.
func tableOf(key string) (table, name string) {
	name = afterDots(key)
	return strings.TrimSuffix(strings.TrimSuffix(key, name), "."), name
}

// literal returns the value of a setting as TOML.
func literal(v any) string {
	switch v := v.(type) {
	case *bool:
		return fmt.Sprint(*v)
	case *string:
		return basicString(*v)
	case *[]string:
		var items []string
		for _, s := range *v {
			items = append(items, basicString(s))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return "[]" // tables are written one by one
}

// basicString quotes a string of printable characters, which all of ours are.
func basicString(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}

// MarshalJSON writes the values, the files in the order in which they were read, and
// the origin of each key that a file sets.
func (c *Config) MarshalJSON() ([]byte, error) {
	type values Config // does not have this method
	origins, files := c.origins, c.Files
	if origins == nil {
		origins = map[string]Origin{}
	}
	if files == nil {
		files = []string{}
	}
	return json.Marshal(struct {
		Files   []string          `json:"files"`
		Config  *values           `json:"config"`
		Origins map[string]Origin `json:"origins"`
	}{files, (*values)(c), origins})
}

// afterDots returns the last name of a dotted key.
func afterDots(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
