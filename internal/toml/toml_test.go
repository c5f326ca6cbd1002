package toml

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// wanted is a table of settings for these tests.
type wanted struct {
	image string
	home  bool
	list  []string
	env   map[string]string
	lines map[string]int
}

func (w *wanted) read(text string) error {
	doc, err := Parse("f", []byte(text))
	if err != nil {
		return err
	}
	w.env, w.lines = map[string]string{}, map[string]int{}
	d := Decoder{Document: doc, Set: func(key string, line int) { w.lines[key] = line }}
	return d.Decode(doc.Root, "", "", []Setting{
		{Key: "image", Value: &w.image, Check: func(s string) error {
			if s == "" {
				return errors.New("expected a name")
			}
			return nil
		}},
		{Key: "mount.home", Value: &w.home},
		{Key: "mount.list", Value: &w.list},
		{Key: "env", Value: Reader(w.variables)},
	})
}

// variables reads a table with arbitrary keys.
func (w *wanted) variables(d *Decoder, v *Value, key string) error {
	if v.Table == nil {
		return d.ErrorAt(v.Offset, key, fmt.Errorf("expected a table, not %s", v))
	}
	for _, name := range v.Table.Names {
		var value string
		one := *v.Table
		one.Names = []string{name}
		if err := d.Decode(&one, key+".", "", []Setting{{Key: Printable(name), Value: &value}}); err != nil {
			return err
		}
		w.env[name] = value
	}
	return nil
}

// Any table of settings can be read: each value is stored, with its line.
func TestDecode(t *testing.T) {
	var w wanted
	if err := w.read("image = 'x'\n[env]\nA = '1'\n'b.c' = '2'\n[mount]\nhome = true\nlist = [\n 'a', 'b']\n"); err != nil {
		t.Fatal(err)
	}
	if w.image != "x" || !w.home || !slices.Equal(w.list, []string{"a", "b"}) || w.env["A"] != "1" || w.env["b.c"] != "2" {
		t.Errorf("got %+v", w)
	}
	for key, line := range map[string]int{"image": 1, "env": 2, "env.A": 3, `env."b.c"`: 4, "mount.home": 6, "mount.list": 7} {
		if w.lines[key] != line {
			t.Errorf("%s is of line %d, want %d", key, w.lines[key], line)
		}
	}
}

// Errors have a position.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"image = ''":             "f:1:9: image: expected a name",
		"\nimage = 1":            "f:2:9: image: expected a string, not the number 1",
		"imgae = 'x'":            "f:1:1: imgae: unknown key; did you mean image?",
		"mount = 1":              "f:1:9: mount: expected a table, not the number 1",
		"mount.list = ['a','a']": `f:1:19: mount.list[1]: "a" is listed twice`,
		"env = 'x'":              `f:1:7: env: expected a table, not the string "x"`,
		"env.A = true":           "f:1:9: env.A: expected a string, not true",
		"image = ":               "f:1:8: the value is missing",
	} {
		var w wanted
		err := w.read(text)
		var bad *Error
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
