package environment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
	"github.com/ocishim/ocishim/internal/toml"
)

// A file is what one environment file says, with nothing expanded.
type file struct {
	*toml.Document
	bases       []string
	choices     map[string]string // image and pull
	wishes      []request.Wish
	annotations map[string]string
	offsets     map[string]int // of keys
}

// parse reads a file strictly.
func parse(path string, data []byte) (*file, error) {
	document, err := toml.Parse(path, data)
	if err != nil {
		return nil, err
	}
	f := &file{Document: document, choices: map[string]string{}, annotations: map[string]string{}, offsets: map[string]int{}}
	d := toml.Decoder{Document: document}
	return f, d.Decode(document.Root, "", "", f.settings())
}

// settings are the keys of a file: all keys of requests, and a few that only files have.
func (f *file) settings() []toml.Setting {
	settings := []toml.Setting{
		{Key: "image", Value: f.choice("image")},
		{Key: "pull", Value: f.choice("pull")},
		{Key: "profile", Value: f.annotation("org.ocishim.profile")},
		{Key: "base_environment", Value: toml.Reader(f.readBases)},
		{Key: "annotations", Value: toml.Reader(f.readAnnotations)},
		{Key: "env", Value: toml.Reader(f.readEnv)},
	}
	for _, k := range request.Keys() {
		if k.Name != "env" {
			settings = append(settings, toml.Setting{Key: k.Name, Value: f.wish(k)})
		}
	}
	return settings
}

// choice reads a key with one string.
func (f *file) choice(name string) toml.Reader {
	return func(d *toml.Decoder, v *toml.Value, key string) (err error) {
		f.offsets[name] = v.Key
		f.choices[name], err = d.String(v, key)
		if err == nil && !text.Fits(f.choices[name]) {
			err = d.ErrorAt(v.Offset, key, errors.New("a control character in it"))
		}
		return err
	}
}

// annotation reads a key that is an annotation by a shorter name.
func (f *file) annotation(name string) toml.Reader {
	return func(d *toml.Decoder, v *toml.Value, key string) (err error) {
		f.offsets["annotations."+name] = v.Key
		f.annotations[name], err = d.String(v, key)
		return err
	}
}

// wish reads a key of requests. What can be checked before variables are expanded is checked here.
func (f *file) wish(k request.Key) toml.Reader {
	return func(d *toml.Decoder, v *toml.Value, key string) error {
		f.offsets[k.Name] = v.Key
		values, err := formed(d, v, key, k.Form)
		if err != nil {
			return err
		}
		w := request.Wish{Key: k.Name, Values: values, By: f.by(k.Name)}
		f.wishes = append(f.wishes, w)
		if slices.ContainsFunc(values, func(value string) bool { return strings.Contains(value, "$") }) {
			return nil
		}
		return new(request.Request).AddWish(w, nil)
	}
}

// formed reads the value of a key as its form says.
func formed(d *toml.Decoder, v *toml.Value, key string, form request.Form) ([]string, error) {
	switch form {
	case request.List:
		return d.Strings(v, key)
	case request.Switch:
		on, err := d.Bool(v, key)
		return []string{fmt.Sprint(on)}, err
	}
	value, err := d.String(v, key)
	return []string{value}, err
}

// readBases reads a string or an array of strings.
func (f *file) readBases(d *toml.Decoder, v *toml.Value, key string) (err error) {
	f.offsets[key] = v.Key
	if v.IsArray() {
		f.bases, err = d.Strings(v, key)
		return err
	}
	base, err := d.String(v, key)
	if base != "" {
		f.bases = []string{base}
	}
	return err
}

// readEnv reads the variables of the table env.
func (f *file) readEnv(d *toml.Decoder, v *toml.Value, key string) error {
	if v.Table == nil {
		return d.ErrorAt(v.Offset, key, fmt.Errorf("expected a table of variables, not %s", v))
	}
	for _, name := range v.Table.Names {
		item := v.Table.Values[name]
		within := key + "." + toml.Printable(name)
		value, err := d.String(item, within)
		if err != nil {
			return err
		}
		w := request.Wish{Key: "env", Values: []string{name + "=" + value}, By: f.position(item.Key)}
		if err := new(request.Request).AddWish(w, nil); err != nil {
			return err
		}
		f.wishes = append(f.wishes, w)
	}
	return nil
}

// readAnnotations reads annotations, whose names may be written as tables within tables.
func (f *file) readAnnotations(d *toml.Decoder, v *toml.Value, key string) error {
	if v.Table == nil {
		return d.ErrorAt(v.Offset, key, fmt.Errorf("expected a table, not %s", v))
	}
	for _, name := range v.Table.Names {
		item := v.Table.Values[name]
		within := key + "." + name
		if item.Table != nil {
			if err := f.readAnnotations(d, item, within); err != nil {
				return err
			}
			continue
		}
		value, err := d.String(item, within)
		if err != nil {
			return err
		}
		f.offsets[within] = item.Key
		f.annotations[strings.TrimPrefix(within, "annotations.")] = value
	}
	return nil
}

// by returns the file and line of a key.
func (f *file) by(key string) string { return f.position(f.offsets[key]) }

func (f *file) position(offset int) string { return toml.Position(f.File, f.Line(offset), 0) }

// mistake returns the error for a key that was read without one.
func (f *file) mistake(key string, err error) error {
	return f.ErrorAt(f.offsets[key], key, err)
}
