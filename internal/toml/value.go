package toml

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ocishim/ocishim/internal/text"
)

// A Value is what a key has.
type Value struct {
	kind   unstable.Kind // Table for every table
	text   string        // of a string: what it says; else as in the file
	Items  []*Value      // of an array
	grows  bool          // the array is one of [[NAME]]
	Table  *Table        // nil for what is none
	Key    int           // offset of the key's last part, for an item that of its array
	Offset int           // of the value itself
}

// IsArray reports whether the value is an array, of tables or of other values.
func (v *Value) IsArray() bool { return v.kind == unstable.Array }

// String names the value for a message.
func (v *Value) String() string {
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

// Printable is a name as it stands in a dotted key: one with a dot in it is another than
// two names.
func Printable(name string) string {
	if strings.Contains(name, ".") {
		return text.Quoted(name)
	}
	return text.Printable(name)
}
