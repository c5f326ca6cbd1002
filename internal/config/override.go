package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// What users write to decide otherwise than the site: for the key gpu.isolate
// the annotation org.ocishim.gpu.isolate, or the variable OCISHIM_GPU_ISOLATE.
const (
	annotationPrefix = "org.ocishim."
	variablePrefix   = "OCISHIM_"
)

// ErrNotAllowed says that the site does not let users decide what they did.
var ErrNotAllowed = errors.New("the site does not let users decide that")

// userKeys are the keys that users.may can name.
func userKeys() []string {
	var keys []string
	for _, s := range new(GPU).settings() {
		if s.users {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// Override puts what a container's annotations and variables decide over the
// site's values, the variables last: a job sets them when it starts.
func (c *Config) Override(annotations map[string]string, env []string) error {
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if key, ok := strings.CutPrefix(name, annotationPrefix); ok {
			if err := c.override(key, "annotation "+name, annotations[name]); err != nil {
				return err
			}
		}
	}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if suffix, ok := strings.CutPrefix(name, variablePrefix); ok {
			key := strings.ToLower(strings.ReplaceAll(suffix, "_", "."))
			if err := c.override(key, name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// override sets a key to what a user wants, and notes by what. Names of no table
// of keys are somebody else's.
func (c *Config) override(key, by, value string) error {
	table, _, _ := strings.Cut(key, ".")
	if table != "gpu" {
		return nil
	}
	settings := c.settings()
	at := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if at < 0 {
		return fmt.Errorf("%s: %w", text.Printable(by), unknown(key, settings))
	}
	if err := c.Allow(key, by); err != nil {
		return err
	}
	if err := settings[at].set(value); err != nil {
		return fmt.Errorf("%s: %w", by, err)
	}
	if c.origins == nil {
		c.origins = map[string]Origin{}
	}
	c.origins[key] = Origin{File: by}
	return nil
}

// Allow says that the site does not let users decide what has the name in
// users.may; by is what they asked by.
func (c *Config) Allow(name, by string) error {
	if slices.Contains(c.Users.May, name) {
		return nil
	}
	return fmt.Errorf("%s: %w: %s is not in users.may (%s)", by, ErrNotAllowed, name, c.Origin("users.may"))
}

// ByUser tells whether a user decided the key's value.
func (c *Config) ByUser(key string) bool {
	o := c.Origin(key)
	return o.File != "" && o.Line == 0
}

// set reads a value that is not in TOML: true or false, a string, or a list
// with commas between.
func (s setting) set(value string) error {
	switch to := s.value.(type) {
	case *bool:
		if value != "true" && value != "false" {
			return fmt.Errorf("expected true or false, not %s", text.Quoted(value))
		}
		*to = value == "true"
	case *string:
		if err := s.accepts(value); err != nil {
			return err
		}
		*to = value
	case *[]string:
		list := []string{}
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item == "" || slices.Contains(list, item) {
				continue
			}
			if err := s.accepts(item); err != nil {
				return err
			}
			list = append(list, item)
		}
		*to = list
	}
	return nil
}

// accepts says what is wrong with a string, or with one of a list.
func (s setting) accepts(value string) error {
	switch {
	case len(s.choices) > 0 && !slices.Contains(s.choices, value):
		return fmt.Errorf("expected %s, not %s", alternatives(s.choices), text.Quoted(value))
	case s.check != nil:
		return s.check(value)
	}
	return nil
}
