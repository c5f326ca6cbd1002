package toml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ocishim/ocishim/internal/text"
)

// A Document is a TOML file as a tree in which everything has its position.
//
// It uses only the parser of go-toml, from its package unstable: the decoder knows the
// positions of errors but not of values, and would make the program 0.2 MB larger,
// which every rootless launch copies. What the parser leaves to the decoder is done
// here: checking that nothing is defined twice.
type Document struct {
	File   string
	data   []byte
	parser unstable.Parser
	Root   *Table
}

// A Table is made by [NAME], {...} or a dotted key.
type Table struct {
	Names  []string // in the order of the file
	Values map[string]*Value
	made   maker
}

// A maker says what made a table, and so what may still be added to it.
type maker int

const (
	byHeader    maker = iota // [a.b] makes b, and nothing may make it again
	byPassing                // [a.b] makes a, which [a] may still define
	byDottedKey              // a.b = 1 makes a, to which only a.c = 2 may add
	byBraces                 // {...} is complete
)

// A part is one name of a dotted key.
type part struct {
	name   string
	offset int
}

// Parse reads a file's content. The error is an *Error.
func Parse(file string, data []byte) (*Document, error) {
	d := &Document{File: file, data: data, Root: newTable(byHeader)}
	if at := invalidUTF8(data); at >= 0 {
		return nil, d.ErrorAt(at, "", errors.New("not UTF-8"))
	}
	d.parser.Reset(data)
	current := d.Root
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

func newTable(m maker) *Table { return &Table{Values: map[string]*Value{}, made: m} }

func (t *Table) add(p part, v *Value) {
	v.Key = p.offset
	t.Names = append(t.Names, p.name)
	t.Values[p.name] = v
}

// header follows [a.b] or [[a.b]], and returns the table that is now open.
func (d *Document) header(n *unstable.Node) (*Table, error) {
	parts := d.parts(n)
	t := d.Root
	for _, p := range parts[:len(parts)-1] {
		v := t.Values[p.name]
		switch {
		case v == nil:
			v = &Value{kind: unstable.Table, Table: newTable(byPassing), Offset: p.offset}
			t.add(p, v)
			t = v.Table
		case v.grows:
			t = v.Items[len(v.Items)-1].Table
		case v.Table != nil && v.Table.made != byBraces:
			t = v.Table
		default:
			return nil, d.twice(p, v)
		}
	}
	last := parts[len(parts)-1]
	if n.Kind == unstable.ArrayTable {
		return d.grow(t, last)
	}
	v := t.Values[last.name]
	switch {
	case v == nil:
		v = &Value{kind: unstable.Table, Table: newTable(byHeader), Offset: last.offset}
		t.add(last, v)
	case v.Table != nil && v.Table.made == byPassing:
		v.Table.made = byHeader
	default:
		return nil, d.twice(last, v)
	}
	return v.Table, nil
}

// grow adds a table to the array of [[NAME]].
func (d *Document) grow(t *Table, p part) (*Table, error) {
	v := t.Values[p.name]
	if v == nil {
		v = &Value{kind: unstable.Array, grows: true, Offset: p.offset}
		t.add(p, v)
	}
	if !v.grows {
		return nil, d.twice(p, v)
	}
	item := &Value{kind: unstable.Table, Table: newTable(byHeader), Key: p.offset, Offset: p.offset}
	v.Items = append(v.Items, item)
	return item.Table, nil
}

// set follows a.b = value.
func (d *Document) set(t *Table, n *unstable.Node) error {
	parts := d.parts(n)
	for _, p := range parts[:len(parts)-1] {
		v := t.Values[p.name]
		if v == nil {
			v = &Value{kind: unstable.Table, Table: newTable(byDottedKey), Offset: p.offset}
			t.add(p, v)
		}
		if v.Table == nil || v.Table.made != byDottedKey {
			return d.twice(p, v)
		}
		t = v.Table
	}
	last := parts[len(parts)-1]
	if v := t.Values[last.name]; v != nil {
		return d.twice(last, v)
	}
	v, err := d.value(n.Value(), last.offset)
	if err != nil {
		return err
	}
	t.add(last, v)
	return nil
}

// value copies a value of the parser, which reuses it for the next line. The parser has
// no position for an array, so it gets its key's, or its outer array's.
func (d *Document) value(n *unstable.Node, outer int) (*Value, error) {
	v := &Value{kind: n.Kind, text: string(n.Data), Key: outer, Offset: outer}
	if n.Raw.Length > 0 {
		v.Offset = int(n.Raw.Offset)
	}
	if n.Kind == unstable.InlineTable {
		v.kind, v.Table = unstable.Table, newTable(byBraces)
	}
	for it := n.Children(); it.Next(); {
		if v.Table != nil {
			if err := d.set(v.Table, it.Node()); err != nil {
				return nil, err
			}
			continue
		}
		item, err := d.value(it.Node(), v.Offset)
		if err != nil {
			return nil, err
		}
		v.Items = append(v.Items, item)
	}
	return v, nil
}

func (d *Document) parts(n *unstable.Node) []part {
	var parts []part
	for it := n.Key(); it.Next(); {
		parts = append(parts, part{name: string(it.Node().Data), offset: int(it.Node().Raw.Offset)})
	}
	return parts
}

// twice returns the error for a part that is already set by v.
func (d *Document) twice(p part, v *Value) error {
	return d.ErrorAt(p.offset, Printable(p.name), fmt.Errorf("already set in line %d", d.Line(v.Key)))
}

func (d *Document) syntaxError(err error) error {
	var bad *unstable.ParserError
	if !errors.As(err, &bad) {
		return err
	}
	at := int(d.parser.Range(bad.Highlight).Offset)
	key := strings.Join(bad.Key, ".")
	if key != "" {
		key = text.Printable(key)
	}
	return d.ErrorAt(at, key, errors.New(d.mistake(at, bad.Message)))
}

// mistake rewrites the parser's messages about values, which only name a character.
func (d *Document) mistake(at int, message string) string {
	switch {
	case strings.HasPrefix(message, "expected value, not end of input"):
		return "the value is missing"
	case message != "strings must be quoted" && !strings.HasSuffix(message, "at start of value") && !strings.HasPrefix(message, "expected keyword"):
		return text.Printable(message)
	}
	// The parser may be past the beginning of the word.
	begin := at
	for begin > 0 && !strings.ContainsRune(" \t\r\n=,[{", rune(d.data[begin-1])) {
		begin--
	}
	word := d.data[begin:]
	if end := bytes.IndexAny(word, " \t\r\n,]}#"); end >= 0 {
		word = word[:end]
	}
	if len(word) == 0 {
		return "the value is missing"
	}
	return "expected a value, not " + text.Printable(string(word)) + ": write a string in quotes, " + text.Quoted(string(word)) + ", and a switch as true or false"
}

// ErrorAt returns an error at a position; the key may be empty.
func (d *Document) ErrorAt(offset int, key string, reason error) error {
	line, column := d.lineColumn(offset)
	return &Error{File: d.File, Line: line, Column: column, Key: key, Err: reason}
}

// Line returns the line of an offset, counted from 1.
func (d *Document) Line(offset int) int {
	line, _ := d.lineColumn(offset)
	return line
}

// lineColumn returns the line and column of an offset, both counted from 1, the column
// in characters.
func (d *Document) lineColumn(offset int) (line, column int) {
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
