package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// encoding/json prepares for all fields of a struct, and for all types below them, before it reads
// or writes the first of them. In a program that reads and writes each file once, this takes
// several times as long as the work. MarshalFields and UnmarshalFields handle each field separately,
// and only those that are there. They are for our own files: names of fields match exactly.

// MarshalFields writes a struct, or what v points to, as encoding/json does. Fields with omitempty
// or omitzero are left out if they are zero or have no elements.
func MarshalFields(v any) ([]byte, error) {
	text, err := appendFields([]byte("{"), structOf(v))
	if err != nil {
		return nil, err
	}
	return append(text, '}'), nil
}

func appendFields(text []byte, v reflect.Value) ([]byte, error) {
	for i := range v.NumField() {
		field := v.Field(i)
		name, optional, inner := fieldName(v.Type().Field(i))
		var err error
		switch {
		case inner:
			text, err = appendFields(text, field)
		case name != "" && (!optional || !unset(field)):
			text, err = appendField(text, name, field)
		}
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

func appendField(text []byte, name string, field reflect.Value) ([]byte, error) {
	value, err := json.Marshal(field.Interface())
	if err != nil {
		return nil, err
	}
	if len(text) > 1 {
		text = append(text, ',')
	}
	text = append(text, '"')
	text = append(text, name...)
	text = append(text, '"', ':')
	return append(text, value...), nil
}

// UnmarshalFields reads what MarshalFields wrote into the struct that v points to. It skips unknown
// fields, without keeping them in memory.
func UnmarshalFields(data []byte, v any) error {
	fields := map[string]reflect.Value{}
	collectFields(fields, structOf(v))
	d := json.NewDecoder(bytes.NewReader(data))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return errors.Join(errNotObject, err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		into := any(new(skipped))
		if field, known := fields[name.(string)]; known { // in an object, this token is a name
			into = field.Addr().Interface()
		}
		if err := d.Decode(into); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the end of the object
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows it", errNotObject)
	}
	return nil
}

var errNotObject = errors.New("expected one JSON object")

// skipped is a value that nobody needs.
type skipped struct{}

func (*skipped) UnmarshalJSON([]byte) error { return nil }

func collectFields(fields map[string]reflect.Value, v reflect.Value) {
	for i := range v.NumField() {
		name, _, inner := fieldName(v.Type().Field(i))
		switch {
		case inner:
			collectFields(fields, v.Field(i))
		case name != "":
			fields[name] = v.Field(i)
		}
	}
}

func structOf(v any) reflect.Value {
	s := reflect.ValueOf(v)
	if s.Kind() == reflect.Pointer {
		s = s.Elem()
	}
	return s
}

// fieldName returns the name of a field in JSON, empty for a field that is not in it, and whether
// the field may be left out. inner says that the fields of this struct are fields of the outer one.
func fieldName(f reflect.StructField) (name string, optional, inner bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case name == "" && f.Anonymous:
		return "", false, true
	case name == "-" || !f.IsExported():
		return "", false, false
	}
	return name, options != "", false
}

// unset reports whether omitempty, or omitzero, leaves the field out.
func unset(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	if v.Kind() == reflect.Struct { // only omitzero leaves these out
		if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}
