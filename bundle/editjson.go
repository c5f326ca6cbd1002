package bundle

import (
	"encoding/json"
	"reflect"
	"strings"
)

// MarshalJSON writes what the edit changes. It encodes each field separately: otherwise
// encoding/json would prepare for the types of all fields, which takes longer than the writing
// itself.
func (e Edit) MarshalJSON() ([]byte, error) {
	v := reflect.ValueOf(e)
	text := []byte("{")
	for i := range v.NumField() {
		field := v.Field(i)
		name, optional, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if optional != "" && unset(field) {
			continue
		}
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
		text = append(text, value...)
	}
	return append(text, '}'), nil
}

// unset reports whether omitempty leaves the field out.
func unset(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}
