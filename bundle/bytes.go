package bundle

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Paths, arguments and variables are bytes to the kernel, but JSON holds only text, and
// encoding/json replaces what is not UTF-8. In our own files, and in what we read, such a byte
// therefore becomes the character U+10FF00 plus the byte, at the end of the last private plane. If
// a string already contains one of these characters, that character's bytes are escaped in the same
// way, so reading always gives back what was written.
const (
	firstByte = 0x10FF80
	lastByte  = 0x10FFFF
)

// hasOdd and hasEscaped report whether there may be something to convert in JSON: hasOdd in what
// encoding/json wrote, hasEscaped in any JSON. Both may report true for nothing.
func hasOdd(data []byte) bool { return bytes.Contains(data, []byte(`\ufffd`)) || hasEscaped(data) }

func hasEscaped(data []byte) bool {
	// The first three of the four bytes of these characters.
	return bytes.Contains(data, []byte("\xf4\x8f\xbe")) || bytes.Contains(data, []byte("\xf4\x8f\xbf"))
}

// EncodeBytes returns text that stands for any bytes. Valid UTF-8 without escape characters stays
// as it is.
func EncodeBytes(s string) string {
	if plainText(s) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r >= firstByte {
			for _, b := range []byte(s[i : i+size]) {
				out.WriteRune(firstByte - 0x80 + rune(b))
			}
		} else {
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
}

// plainText reports whether EncodeBytes would change nothing.
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.Contains(s, "\xf4\x8f\xbe") && !strings.Contains(s, "\xf4\x8f\xbf")
}

// DecodeBytes returns what EncodeBytes was given.
func DecodeBytes(s string) string {
	if plainText(s) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r >= firstByte && r <= lastByte {
			out.WriteByte(byte(r - firstByte + 0x80))
		} else {
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
}

// Marshal writes JSON for Unmarshal to read, and keeps strings byte for byte. If all of them are
// text, it costs no more than encoding/json.
func Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || !hasOdd(data) {
		return data, err
	}
	return json.Marshal(mapStrings(reflect.ValueOf(v), EncodeBytes).Interface())
}

// Unmarshal reads what Marshal wrote into the value that v points to.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	decodeStrings(data, v)
	return nil
}

// UnmarshalForeign reads JSON that another program wrote. It keeps bytes that are not UTF-8, which
// JSON does not allow but which Slurm writes in a job's environment.
func UnmarshalForeign(data []byte, v any) error {
	if utf8.Valid(data) {
		return json.Unmarshal(data, v)
	}
	return Unmarshal([]byte(EncodeBytes(string(data))), v)
}

// decodeStrings turns escape characters back into bytes, in a value that was read from data.
func decodeStrings(data []byte, v any) {
	if hasEscaped(data) {
		at := reflect.ValueOf(v).Elem()
		at.Set(mapStrings(at, DecodeBytes))
	}
}

// mapStrings returns a copy of the value in which every exported string is changed. Byte slices and
// unexported fields stay as they are.
func mapStrings(v reflect.Value, change func(string) string) reflect.Value {
	if !v.IsValid() {
		return v
	}
	made := reflect.New(v.Type()).Elem()
	made.Set(v)
	switch v.Kind() {
	case reflect.String:
		made.SetString(change(v.String()))
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return made
		}
		inner := mapStrings(v.Elem(), change)
		if v.Kind() == reflect.Interface {
			made.Set(inner)
			return made
		}
		made.Set(reflect.New(v.Type().Elem()))
		made.Elem().Set(inner)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				made.Field(i).Set(mapStrings(v.Field(i), change))
			}
		}
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return made
		}
		made.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			made.Index(i).Set(mapStrings(v.Index(i), change))
		}
	case reflect.Map:
		if v.IsNil() {
			return made
		}
		made.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, value := range v.Seq2() {
			made.SetMapIndex(mapStrings(key, change), mapStrings(value, change))
		}
	}
	return made
}

// FindOdd finds a string in the value that is not UTF-8.
func FindOdd(v any) (odd string, found bool) {
	mapStrings(reflect.ValueOf(v), func(s string) string {
		if !utf8.ValidString(s) {
			odd, found = s, true
		}
		return s
	})
	return odd, found
}
