package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/toml"
)

// merge reads a file's content over the values in c. After an error, which is an
// ErrInvalid, c is unusable.
func (c *Config) merge(file string, data []byte) error {
	doc, err := toml.Parse(file, data)
	if err != nil {
		return invalid{err}
	}
	if c.origins == nil {
		c.origins = map[string]Origin{}
	}
	d := toml.Decoder{Document: doc, Set: func(key string, line int) { c.origins[key] = Origin{File: file, Line: line} }}
	if err := d.Decode(doc.Root, "", "", c.toml(c.settings())); err != nil {
		return invalid{err}
	}
	return nil
}

// toml returns the settings in the form that the reader needs.
func (c *Config) toml(settings []setting) []toml.Setting {
	all := make([]toml.Setting, 0, len(settings))
	for _, s := range settings {
		value := s.value
		switch to := s.value.(type) {
		case *[]Mount:
			value = toml.Reader(func(d *toml.Decoder, v *toml.Value, key string) error { return c.assignMounts(d, to, v, key) })
		case *[]MPI:
			value = toml.Reader(func(d *toml.Decoder, v *toml.Value, key string) error { return c.assignMPI(d, to, v, key) })
		}
		all = append(all, toml.Setting{Key: s.key, Value: value, Check: s.accepts})
	}
	return all
}

func (c *Config) assignMounts(d *toml.Decoder, to *[]Mount, v *toml.Value, key string) error {
	if !v.IsArray() {
		return d.ErrorAt(v.Offset, key, fmt.Errorf("expected an array of tables, not %s", v))
	}
	for i := range *to { // forget the origins of the replaced list
		delete(c.origins, toml.Element(key, i))
	}
	mounts := []Mount{}
	for i, item := range v.Items {
		name := toml.Element(key, i)
		if item.Table == nil {
			return d.ErrorAt(item.Offset, name, fmt.Errorf("expected a table, not %s", item))
		}
		// A table has one origin: a later file replaces it together with the list.
		m, one := Mount{Options: []string{}}, toml.Decoder{Document: d.Document}
		if err := one.Decode(item.Table, name+".", "", c.toml(m.settings())); err != nil {
			return err
		}
		if err := m.finish(mounts); err != nil {
			return d.ErrorAt(item.Offset, name, err)
		}
		mounts = append(mounts, m)
		d.Set(name, d.Line(item.Offset))
	}
	*to = mounts
	return nil
}

// assignMPI reads the tables below [mpi], each over an earlier file's table with the
// same name.
func (c *Config) assignMPI(d *toml.Decoder, to *[]MPI, v *toml.Value, key string) error {
	if v.Table == nil {
		return d.ErrorAt(v.Offset, key, fmt.Errorf("expected a table of tables, not %s", v))
	}
	for _, name := range v.Table.Names {
		item, within := v.Table.Values[name], key+"."+toml.Printable(name)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || name == "" {
			return d.ErrorAt(item.Key, within, errors.New("expected a name of letters, digits, '-' and '_'"))
		}
		if item.Table == nil {
			return d.ErrorAt(item.Offset, within, fmt.Errorf("expected a table, not %s", item))
		}
		i := slices.IndexFunc(*to, func(m MPI) bool { return m.Name == name })
		if i < 0 {
			i, *to = len(*to), append(*to, newMPI(name))
		}
		m := &(*to)[i]
		if err := d.Decode(item.Table, within+".", "", c.toml(m.settings())); err != nil {
			return err
		}
		if len(m.Replace) == 0 {
			return d.ErrorAt(item.Key, within, errors.New("replace is missing"))
		}
		d.Set(within, d.Line(item.Key))
	}
	return nil
}

// alternatives joins words as in `"a", "b" or "c"`.
func alternatives(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(w))
	}
	return b.String()
}
