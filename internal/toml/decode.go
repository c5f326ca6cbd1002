// Package toml reads TOML strictly by a table of settings: an unknown key is an error,
// and errors and values have their line and column.
package toml

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ocishim/ocishim/internal/text"
)

// A Setting is a key, and where its value is stored.
type Setting struct {
	Key string // with the tables it is in, such as hpc.home

	// Value is a *bool, *string, *[]string, or a Reader.
	Value any

	// Check returns what is wrong with a string, or with an item of a list; nil if
	// nothing is.
	Check func(string) error
}

// A Reader reads a value that no other type of Setting fits, such as an array of
// tables. The key is the full one, for messages.
type Reader func(d *Decoder, v *Value, key string) error

// A Decoder stores the values of a document as its settings say.
type Decoder struct {
	*Document

	// Set is called with the key and the line of each value; it may be nil.
	Set func(key string, line int)
}

// Decode reads a table. prefix is the prefix of its keys among the settings; within is
// what messages put before them, such as hpc.mounts[1].
func (d *Decoder) Decode(t *Table, within, prefix string, settings []Setting) error {
	for _, name := range t.Names {
		v, key := t.Values[name], prefix+Printable(name)
		i := slices.IndexFunc(settings, func(s Setting) bool { return s.Key == key })
		switch {
		case i >= 0:
			if err := d.assign(v, within+key, settings[i]); err != nil {
				return err
			}
			d.set(within+key, v.Key)
		case !slices.ContainsFunc(settings, func(s Setting) bool { return strings.HasPrefix(s.Key, key+".") }):
			return d.ErrorAt(v.Key, within+key, Unknown(key, keysOf(settings)))
		case v.Table == nil:
			return d.ErrorAt(v.Offset, within+key, fmt.Errorf("expected a table, not %s", v))
		default:
			if err := d.Decode(v.Table, within, key+".", settings); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Decoder) set(key string, offset int) {
	if d.Set != nil {
		d.Set(key, d.Line(offset))
	}
}

// String returns a string, for a Reader.
func (d *Decoder) String(v *Value, key string) (s string, err error) {
	err = d.assign(v, key, Setting{Value: &s})
	return s, err
}

// Strings returns an array of strings, for a Reader.
func (d *Decoder) Strings(v *Value, key string) (list []string, err error) {
	err = d.assign(v, key, Setting{Value: &list})
	return list, err
}

// Bool returns true or false, for a Reader.
func (d *Decoder) Bool(v *Value, key string) (on bool, err error) {
	err = d.assign(v, key, Setting{Value: &on})
	return on, err
}

func (d *Decoder) assign(v *Value, key string, s Setting) error {
	switch to := s.Value.(type) {
	case *bool:
		if v.kind != unstable.Bool {
			return d.ErrorAt(v.Offset, key, fmt.Errorf("expected true or false, not %s", v))
		}
		*to = v.text == "true"
	case *string:
		if err := d.checkString(v, key, s); err != nil {
			return err
		}
		*to = v.text
	case *[]string:
		return d.assignStrings(to, v, key, s)
	case Reader:
		return to(d, v, key)
	}
	return nil
}

func (d *Decoder) checkString(v *Value, key string, s Setting) error {
	var err error
	switch {
	case v.kind != unstable.String:
		err = fmt.Errorf("expected a string, not %s", v)
	case s.Check != nil:
		err = s.Check(v.text)
	}
	if err != nil {
		return d.ErrorAt(v.Offset, key, err)
	}
	return nil
}

func (d *Decoder) assignStrings(to *[]string, v *Value, key string, s Setting) error {
	if v.kind != unstable.Array || v.grows {
		return d.ErrorAt(v.Offset, key, fmt.Errorf("expected an array of strings, not %s", v))
	}
	list := []string{}
	for i, item := range v.Items {
		if err := d.checkString(item, Element(key, i), s); err != nil {
			return err
		}
		if slices.Contains(list, item.text) {
			return d.ErrorAt(item.Offset, Element(key, i), fmt.Errorf("%s is listed twice", text.Quoted(item.text)))
		}
		list = append(list, item.text)
	}
	*to = list
	return nil
}

// Element returns the key of an item of an array.
func Element(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

func keysOf(settings []Setting) []string {
	keys := make([]string, 0, len(settings))
	for _, s := range settings {
		keys = append(keys, s.Key)
	}
	return keys
}

// Unknown returns an error for an unknown key, with the key that was probably meant.
func Unknown(key string, known []string) error {
	if near := text.Nearest(key, known); near != "" {
		return fmt.Errorf("unknown key; did you mean %s?", near)
	}
	return errors.New("unknown key; known are " + strings.Join(known, ", "))
}
