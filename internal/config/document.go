package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ocishim/ocishim/internal/text"
)

// A document is a TOML file as a tree in which everything has its place.
//
// Of go-toml only the parser is used, which lives in its package unstable: its
// decoder knows the places of errors but not those of values, and it would
// make the program 0.2 MB larger, which every rootless launch copies. What the
// parser leaves to the decoder is done here: that nothing is defined twice.
type document struct {
	file   string
	data   []byte
	parser unstable.Parser
	root   *table
}

// A table is what [NAME], {...} or a dotted key makes.
type table struct {
	names  []string // in the order of the file
	values map[string]*value
	made   maker
}

// A maker tells what made a table, and so what may still be added to it.
type maker int

const (
	byHeader    maker = iota // [a.b] makes b, and nothing may make it again
	byPassing                // [a.b] makes a, which [a] may still define
	byDottedKey              // a.b = 1 makes a, to which only a.c = 2 may add
	byBraces                 // {...} is complete
)

// A value is what a key has.
type value struct {
	kind   unstable.Kind // Table for every table
	text   string        // of a string: what it says; else as in the file
	items  []*value      // of an array
	grows  bool          // the array is one of [[NAME]]
	table  *table
	key    int // offset of the key's last part, for an item that of its array
	offset int // of the value itself
}

// A part is one name of a dotted key.
type part struct {
	name   string
	offset int
}

// parse reads a file's content. The error is an *Error.
func parse(file string, data []byte) (*document, error) {
	d := &document{file: file, data: data, root: newTable(byHeader)}
	if at := invalidUTF8(data); at >= 0 {
		return nil, d.errorAt(at, "", errors.New("not UTF-8"))
	}
	d.parser.Reset(data)
	current := d.root
	for d.parser.NextExpression() {
		var err error
		if n := d.parser.Expression(); n.Kind == unstable.KeyValue {
			err = d.set(current, n)
		} else {
			current, err = d.header(n)
		}
		if err != nil {
			return nil, err
		}
	}
	return d, d.syntaxError(d.parser.Error())
}

func newTable(m maker) *table { return &table{values: map[string]*value{}, made: m} }

func (t *table) add(p part, v *value) {
	v.key = p.offset
	t.names = append(t.names, p.name)
	t.values[p.name] = v
}

// header follows [a.b] or [[a.b]], and returns the table that is open then.
func (d *document) header(n *unstable.Node) (*table, error) {
	parts := d.parts(n)
	t := d.root
	for _, p := range parts[:len(parts)-1] {
		v := t.values[p.name]
		switch {
		case v == nil:
			v = &value{kind: unstable.Table, table: newTable(byPassing), offset: p.offset}
			t.add(p, v)
			t = v.table
		case v.grows:
			t = v.items[len(v.items)-1].table
		case v.table != nil && v.table.made != byBraces:
			t = v.table
		default:
			return nil, d.twice(p, v)
		}
	}
	last := parts[len(parts)-1]
	if n.Kind == unstable.ArrayTable {
		return d.grow(t, last)
	}
	v := t.values[last.name]
	switch {
	case v == nil:
		v = &value{kind: unstable.Table, table: newTable(byHeader), offset: last.offset}
		t.add(last, v)
	case v.table != nil && v.table.made == byPassing:
		v.table.made = byHeader
	default:
		return nil, d.twice(last, v)
	}
	return v.table, nil
}

// grow adds a table to the array of [[NAME]].
func (d *document) grow(t *table, p part) (*table, error) {
	v := t.values[p.name]
	if v == nil {
		v = &value{kind: unstable.Array, grows: true, offset: p.offset}
		t.add(p, v)
	}
	if !v.grows {
		return nil, d.twice(p, v)
	}
	item := &value{kind: unstable.Table, table: newTable(byHeader), key: p.offset, offset: p.offset}
	v.items = append(v.items, item)
	return item.table, nil
}

// set follows a.b = value.
func (d *document) set(t *table, n *unstable.Node) error {
	parts := d.parts(n)
	for _, p := range parts[:len(parts)-1] {
		v := t.values[p.name]
		if v == nil {
			v = &value{kind: unstable.Table, table: newTable(byDottedKey), offset: p.offset}
			t.add(p, v)
		}
		if v.table == nil || v.table.made != byDottedKey {
			return d.twice(p, v)
		}
		t = v.table
	}
	last := parts[len(parts)-1]
	if v := t.values[last.name]; v != nil {
		return d.twice(last, v)
	}
	v, err := d.value(n.Value(), last.offset)
	if err != nil {
		return err
	}
	t.add(last, v)
	return nil
}

// value copies a node out of the parser, which forgets it at the next line. The
// parser has no place for an array: that of its key or outer array is taken.
func (d *document) value(n *unstable.Node, outer int) (*value, error) {
	v := &value{kind: n.Kind, text: string(n.Data), key: outer, offset: outer}
	if n.Raw.Length > 0 {
		v.offset = int(n.Raw.Offset)
	}
	if n.Kind == unstable.InlineTable {
		v.kind, v.table = unstable.Table, newTable(byBraces)
	}
	for it := n.Children(); it.Next(); {
		if v.table != nil {
			if err := d.set(v.table, it.Node()); err != nil {
				return nil, err
			}
			continue
		}
		item, err := d.value(it.Node(), v.offset)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	return v, nil
}

func (d *document) parts(n *unstable.Node) []part {
	var parts []part
	for it := n.Key(); it.Next(); {
		parts = append(parts, part{name: string(it.Node().Data), offset: int(it.Node().Raw.Offset)})
	}
	return parts
}

// twice is the error of a part that v has taken already.
func (d *document) twice(p part, v *value) error {
	line, _ := d.lineColumn(v.key)
	return d.errorAt(p.offset, printableKey(p.name), fmt.Errorf("set in line %d already", line))
}

func (d *document) syntaxError(err error) error {
	var bad *unstable.ParserError
	if !errors.As(err, &bad) {
		return err
	}
	at := int(d.parser.Range(bad.Highlight).Offset)
	key := strings.Join(bad.Key, ".")
	if key != "" {
		key = text.Printable(key)
	}
	return d.errorAt(at, key, errors.New(d.mistake(at, bad.Message)))
}

// mistake is the parser's message in the words of whoever wrote the file, where that is
// about a value: the parser names a character.
func (d *document) mistake(at int, message string) string {
	switch {
	case strings.HasPrefix(message, "expected value, not end of input"):
		return "there is no value"
	case message != "strings must be quoted" && !strings.HasSuffix(message, "at start of value") && !strings.HasPrefix(message, "expected keyword"):
		return text.Printable(message)
	}
	// The parser may have read the beginning of the word.
	begin := at
	for begin > 0 && !strings.ContainsRune(" \t\r\n=,[{", rune(d.data[begin-1])) {
		begin--
	}
	word := d.data[begin:]
	if end := bytes.IndexAny(word, " \t\r\n,]}#"); end >= 0 {
		word = word[:end]
	}
	if len(word) == 0 {
		return "there is no value"
	}
	return "expected a value, not " + text.Printable(string(word)) + ": a string has quotes, " + text.Quoted(string(word)) + ", and a switch is true or false"
}

func (d *document) errorAt(offset int, key string, reason error) error {
	line, column := d.lineColumn(offset)
	return &Error{File: d.file, Line: line, Column: column, Key: key, Err: reason}
}

// lineColumn returns the place of a byte, both counted from 1, the column in
// characters.
func (d *document) lineColumn(offset int) (line, column int) {
	before := d.data[:offset]
	begin := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[begin:]) + 1
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
