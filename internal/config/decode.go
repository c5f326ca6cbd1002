package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ocishim/ocishim/internal/text"
)

// merge reads a file's content into c, over what is there. After an error c is
// of no use.
func (c *Config) merge(file string, data []byte) error {
	doc, err := parse(file, data)
	if err != nil {
		return err
	}
	if c.origins == nil {
		c.origins = map[string]Origin{}
	}
	d := decoder{document: doc, origins: c.origins}
	return d.decode(doc.root, "", "", c.settings())
}

// A decoder puts the values of a document where the settings say.
type decoder struct {
	*document
	origins map[string]Origin
}

// decode reads a table. Its keys have the prefix among the settings; messages
// put before that what holds them all, such as hpc.mounts[1].
func (d *decoder) decode(t *table, within, prefix string, settings []setting) error {
	for _, name := range t.names {
		v, key := t.values[name], prefix+printableKey(name)
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
		switch {
		case i >= 0:
			if err := d.assign(v, within+key, settings[i]); err != nil {
				return err
			}
			line, _ := d.lineColumn(v.key)
			d.origins[within+key] = Origin{File: d.file, Line: line}
		case !slices.ContainsFunc(settings, func(s setting) bool { return strings.HasPrefix(s.key, key+".") }):
			return d.errorAt(v.key, within+key, unknown(key, settings))
		case v.table == nil:
			return d.errorAt(v.offset, within+key, fmt.Errorf("expected a table, not %s", v))
		default:
			if err := d.decode(v.table, within, key+".", settings); err != nil {
				return err
			}
		}
	}
	return nil
}

// printableKey is the name as it stands in a dotted key: one with a dot in it
// is another than two names.
func printableKey(name string) string {
	if strings.Contains(name, ".") {
		return text.Quoted(name)
	}
	return text.Printable(name)
}

func (d *decoder) assign(v *value, key string, s setting) error {
	switch to := s.value.(type) {
	case *bool:
		if v.kind != unstable.Bool {
			return d.errorAt(v.offset, key, fmt.Errorf("expected true or false, not %s", v))
		}
		*to = v.text == "true"
	case *string:
		if err := d.checkString(v, key, s); err != nil {
			return err
		}
		*to = v.text
	case *[]string:
		return d.assignStrings(to, v, key, s)
	case *[]Mount:
		return d.assignMounts(to, v, key)
	case *[]MPI:
		return d.assignMPI(to, v, key)
	}
	return nil
}

func (d *decoder) checkString(v *value, key string, s setting) error {
	err := s.accepts(v.text)
	if v.kind != unstable.String {
		err = fmt.Errorf("expected a string, not %s", v)
	}
	if err != nil {
		return d.errorAt(v.offset, key, err)
	}
	return nil
}

func (d *decoder) assignStrings(to *[]string, v *value, key string, s setting) error {
	if v.kind != unstable.Array || v.grows {
		return d.errorAt(v.offset, key, fmt.Errorf("expected an array of strings, not %s", v))
	}
	list := []string{}
	for i, item := range v.items {
		if err := d.checkString(item, element(key, i), s); err != nil {
			return err
		}
		if slices.Contains(list, item.text) {
			return d.errorAt(item.offset, element(key, i), fmt.Errorf("%s stands there twice", text.Quoted(item.text)))
		}
		list = append(list, item.text)
	}
	*to = list
	return nil
}

func (d *decoder) assignMounts(to *[]Mount, v *value, key string) error {
	if v.kind != unstable.Array {
		return d.errorAt(v.offset, key, fmt.Errorf("expected an array of tables, not %s", v))
	}
	for i := range *to { // those of the list that is replaced
		delete(d.origins, element(key, i))
	}
	mounts := []Mount{}
	for i, item := range v.items {
		name := element(key, i)
		if item.table == nil {
			return d.errorAt(item.offset, name, fmt.Errorf("expected a table, not %s", item))
		}
		m, err := d.mount(item.table, name)
		if err != nil {
			return err
		}
		if err := m.finish(mounts); err != nil {
			return d.errorAt(item.offset, name, err)
		}
		mounts = append(mounts, m)
		line, _ := d.lineColumn(item.offset)
		d.origins[name] = Origin{File: d.file, Line: line}
	}
	*to = mounts
	return nil
}

// mount reads one table of the list. It has one origin: a later file replaces
// it with the list.
func (d *decoder) mount(t *table, name string) (Mount, error) {
	m := Mount{Options: []string{}}
	one := decoder{document: d.document, origins: map[string]Origin{}}
	return m, one.decode(t, name+".", "", m.settings())
}

func element(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// alternatives writes `"a", "b" or "c"`.
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

// String names the value for a message.
func (v *value) String() string {
	switch v.kind {
	case unstable.Table:
		return "a table"
	case unstable.Array:
		if v.grows {
			return "an array of tables"
		}
		return "an array"
	case unstable.String:
		return "the string " + text.Quoted(v.text)
	case unstable.Integer, unstable.Float:
		return "the number " + text.Printable(v.text)
	case unstable.Bool:
		return v.text
	}
	return "the time " + text.Printable(v.text)
}

// unknown says that there is no such key, and which was meant.
func unknown(key string, settings []setting) error {
	all := keysOf(settings)
	if near := Nearest(key, all); near != "" {
		return fmt.Errorf("unknown key; did you mean %s?", near)
	}
	return errors.New("unknown key; known are " + strings.Join(all, ", "))
}
