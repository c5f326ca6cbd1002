package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// decode reads exactly one JSON object. encoding/json limits the nesting to 10000 and refuses data
// after the object.
func decode(data []byte) (*specs.Spec, *ConfigError) {
	foreign := !utf8.Valid(data)
	if foreign {
		data = []byte(EncodeBytes(string(data))) // the number of characters, and so each position, stays the same
	}
	spec, err := decodeDocument(data)
	if err != nil {
		return nil, positioned(data, err)
	}
	// null fits every Go type, so encoding/json would accept it as an empty object.
	begin := len(data) - len(bytes.TrimLeft(data, jsonSpace))
	if data[begin] != '{' {
		line, column := lineColumn(data, begin)
		return nil, &ConfigError{Line: line, Column: column, Err: errors.New("expected object, got null")}
	}
	if foreign {
		decodeStrings(data, spec)
	}
	return spec, nil
}

func decodeDocument(data []byte) (*specs.Spec, error) {
	var d document
	if json.Unmarshal(data, &d) == nil {
		return d.spec(), nil
	}
	// Decode again, as a whole, to get an error that knows its position.
	spec := new(specs.Spec)
	return spec, json.Unmarshal(data, spec)
}

// positioned turns an error of encoding/json into one with line, column and field.
func positioned(data []byte, err error) *ConfigError {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
		begin  int
		bad    = &ConfigError{Err: err}
	)
	switch {
	case errors.As(err, &syntax):
		// Offset counts the bytes that were read: the last of them is the offending one, unless the
		// input ended too early.
		begin = int(syntax.Offset) - 1
		if syntax.Error() == "unexpected end of JSON input" {
			begin = len(data)
		}
		_, bad.Field = locate(data, begin)
	case errors.As(err, &typed):
		// Offset is after the value, or after its opening bracket.
		begin, bad.Field = locate(data, int(typed.Offset)-1)
		bad.Err = fmt.Errorf("expected %s, got %s", wanted(typed), got(typed))
	default:
		return bad
	}
	bad.Line, bad.Column = lineColumn(data, begin)
	return bad
}

// wanted names the JSON type that the specification has at this place.
func wanted(e *json.UnmarshalTypeError) string {
	if strings.HasPrefix(e.Value, "number ") {
		// An integer was wanted, and this number does not fit.
		bits := e.Type.Bits()
		switch e.Type.Kind() {
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			return fmt.Sprintf("integer from 0 to %d", ^uint64(0)>>(64-bits))
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			most := int64(^uint64(0) >> (65 - bits))
			return fmt.Sprintf("integer from %d to %d", -most-1, most)
		}
	}
	if e.Type.Kind() == reflect.Slice {
		return "array of " + typeName(e.Type.Elem()) + "s"
	}
	return typeName(e.Type)
}

// typeName returns JSON's word for a Go type.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Float32, reflect.Float64:
		return "number"
	}
	return "integer"
}

// got names what is there instead.
func got(e *json.UnmarshalTypeError) string {
	if e.Value == "bool" {
		return "boolean"
	}
	return text.Printable(e.Value)
}
