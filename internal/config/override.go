package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
	"github.com/ocishim/ocishim/internal/toml"
)

// ErrNotAllowed means that a user tried to decide something that the site does not
// allow.
var ErrNotAllowed = errors.New("the site does not let users decide that")

// userKeys returns the keys that users.may can name.
func userKeys() []string {
	var keys []string
	for _, s := range new(GPU).settings() {
		if s.users {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// GPUKeys returns the keys of the table gpu: those that a user can name, whether or not
// the site lets users set them.
func GPUKeys() []string { return keysOf(new(GPU).settings()) }

func keysOf(settings []setting) []string {
	keys := make([]string, 0, len(settings))
	for _, s := range settings {
		keys = append(keys, s.key)
	}
	return keys
}

// Override sets a key to a user's value and records the origin, such as "annotation
// org.ocishim.gpu.isolate". A list has commas between its elements. If the site does
// not let users set the key, the error is ErrNotAllowed.
func (c *Config) Override(key, value, by string) error {
	settings := c.settings()
	at := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if at < 0 {
		return fmt.Errorf("%s: %w", text.Printable(by), toml.Unknown(key, keysOf(settings)))
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

// Allow returns an error if users.may does not have the name; by says how the user
// asked.
func (c *Config) Allow(name, by string) error {
	if slices.Contains(c.Users.May, name) {
		return nil
	}
	return fmt.Errorf("%s: %w: %s is not in users.may (%s)", by, ErrNotAllowed, name, c.Origin("users.may"))
}

// ByUser reports whether a user set the key.
func (c *Config) ByUser(key string) bool {
	o := c.Origin(key)
	return o.File != "" && o.Line == 0
}

// set reads a value that is not TOML: true or false, a string, or a list with commas.
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

// accepts returns what is wrong with a string, or with an item of a list.
func (s setting) accepts(value string) error {
	switch {
	case len(s.choices) > 0 && !slices.Contains(s.choices, value):
		return fmt.Errorf("expected %s, not %s", alternatives(s.choices), text.Quoted(value))
	case s.check != nil:
		return s.check(value)
	}
	return nil
}
