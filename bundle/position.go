package bundle

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/ocishim/ocishim/internal/text"
)

const (
	jsonSpace     = " \t\r\n"
	jsonSeparator = jsonSpace + ",:"
)

// maxFieldDepth limits the path in an error: a file nested ten thousand deep must not give an error
// of ten thousand brackets.
const maxFieldDepth = 16

// lineColumn returns the position of byte i of data. Both numbers count from 1, the column in
// characters as editors show it.
func lineColumn(data []byte, i int) (line, column int) {
	i = max(0, min(i, len(data)))
	before := data[:i]
	begin := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[begin:]) + 1
}

// locate returns where the value that holds byte i of data begins, and the path of that value. If
// data is not valid JSON it returns i and the path of the property that the syntax error is in.
//
// encoding/json reports neither array indices nor beginnings, so the file is read a second time,
// but only if it has an error.
func locate(data []byte, i int) (begin int, field string) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a number beyond float64 is not an error here
	var p jsonPath
	for {
		rest := data[dec.InputOffset():]
		token, err := dec.Token()
		if err != nil {
			p.fail(rest)
			return i, p.String()
		}
		if p.name(token) {
			continue
		}
		if token == json.Delim(']') || token == json.Delim('}') {
			p = p[:len(p)-1]
			p.end()
			continue
		}
		p.begin()
		if int(dec.InputOffset()) > i || len(p) > maxFieldDepth {
			// There is nothing but space and separators between two tokens.
			return len(data) - len(bytes.TrimLeft(rest, jsonSeparator)), p.String()
		}
		if token == json.Delim('[') || token == json.Delim('{') {
			p = append(p, jsonLevel{array: token == json.Delim('['), index: -1})
			continue
		}
		p.end()
	}
}

// jsonPath is the chain of arrays and objects that are open while reading.
type jsonPath []jsonLevel

type jsonLevel struct {
	array bool
	key   string // of an object: the property whose value comes next or is open
	named bool   // of an object: key is set
	index int    // of an array: the element begun last, -1 before the first
}

// name takes token as the name of a property, if one is expected.
func (p jsonPath) name(token json.Token) bool {
	if len(p) == 0 || p[len(p)-1].array || p[len(p)-1].named {
		return false
	}
	key, ok := token.(string) // otherwise it is the end of the object
	p[len(p)-1].key, p[len(p)-1].named = key, ok
	return ok
}

// begin notes that a value begins.
func (p jsonPath) begin() {
	if len(p) > 0 {
		p[len(p)-1].index++
	}
}

// end notes that a value has ended.
func (p jsonPath) end() {
	if len(p) > 0 {
		p[len(p)-1].named = false
	}
}

// fail notes that rest, which comes next, is not JSON. In an array it belongs to the next element
// if a separator shows that the last one is complete.
func (p jsonPath) fail(rest []byte) {
	if len(p) == 0 {
		return
	}
	top := &p[len(p)-1]
	if top.index < 0 || bytes.HasPrefix(bytes.TrimLeft(rest, jsonSpace), []byte(",")) {
		top.index++
	}
}

// String returns the path as errors show it, such as process.rlimits[0].type.
func (p jsonPath) String() string {
	var b strings.Builder
	for _, level := range p {
		switch {
		case level.array && level.index >= 0:
			b.WriteString(at("", level.index))
		case level.named:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(text.Printable(level.key))
		}
	}
	if len(p) > maxFieldDepth {
		b.WriteString("...")
	}
	return b.String()
}
