package toml

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/ocishim/ocishim/internal/text"
)

// A Value is the value of a key.
type Value struct {
	kind   unstable.Kind // Table for every table
	text   string        // content of a string, otherwise as in the file
	Items  []*Value      // of an array
	grows  bool          // the array is one of [[NAME]]
	Table  *Table        // nil if it is not a table
	Key    int           // offset of the key's last part; for an item, of its array's
	Offset int           // of the value itself
}

// IsArray reports whether the value is an array, of tables or of other values.
func (v *Value) IsArray() bool { return v.kind == unstable.Array }

// String describes the value for a message.
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

// Printable returns a name as written in a dotted key: a name that contains a dot is
// quoted.
func Printable(name string) string {
	if strings.Contains(name, ".") {
		return text.Quoted(name)
	}
	return text.Printable(name)
}
