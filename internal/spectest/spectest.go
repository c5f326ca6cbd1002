// Package spectest walks the fields of the OCI specification, for tests that no
// field is forgotten.
package spectest

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

//go:embed full.json
var full []byte

// Full is a configuration in which every field is set that Linux has. A field that
// a newer version of the specification brings must be added to full.json.
func Full() (*specs.Spec, error) {
	spec := new(specs.Spec)
	return spec, json.Unmarshal(full, spec)
}

// Leaves lists the paths of the fields that are no objects, as in config.json, of
// those that Linux has. What is in a list has [] in its path, in a map {}.
func Leaves() []string { return leaves(reflect.TypeFor[specs.Spec](), "") }

// Clear sets the field at the path to its zero value, in the first of a list and in
// all of a map; false means that it is zero already.
func Clear(spec *specs.Spec, path string) bool {
	return clearLeaf(reflect.ValueOf(spec), strings.Split(path, "."))
}

// Copy sets the field at the path to what it is in another spec. Of a list or a map
// all is copied.
func Copy(to, from *specs.Spec, path string) {
	v, w := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for name := range strings.SplitSeq(path, ".") {
		whole := strings.HasSuffix(name, "[]") || strings.HasSuffix(name, "{}")
		v, w = fieldOf(v, strings.TrimRight(name, "[]{}")), fieldOf(w, strings.TrimRight(name, "[]{}"))
		if whole {
			break
		}
		if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v, w = v.Elem(), w.Elem()
		}
	}
	v.Set(w)
}

func fieldOf(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if f := v.Type().Field(i); jsonName(f) == name && !f.Anonymous {
			return v.Field(i)
		} else if f.Anonymous {
			if inner := fieldOf(v.Field(i), name); inner.IsValid() {
				return inner
			}
		}
	}
	return reflect.Value{}
}

func leaves(t reflect.Type, path string) []string {
	switch {
	case t.Kind() == reflect.Pointer:
		return leaves(t.Elem(), path)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return leaves(t.Elem(), path+"[]")
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		return leaves(t.Elem(), path+"{}")
	case t.Kind() != reflect.Struct:
		return []string{path}
	}
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		if platforms := f.Tag.Get("platform"); platforms != "" && !strings.Contains(platforms, "linux") {
			continue
		}
		below := strings.TrimPrefix(path+"."+jsonName(f), ".")
		if f.Anonymous {
			below = path
		}
		all = append(all, leaves(f.Type, below)...)
	}
	return all
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func clearLeaf(v reflect.Value, path []string) bool {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return false
		}
		v = v.Elem()
	}
	if len(path) == 0 {
		was := !v.IsZero()
		v.SetZero()
		return was
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if clearLeaf(v.Field(i), path) {
				return true
			}
			continue
		}
		if jsonName(f) != strings.TrimRight(path[0], "[]{}") {
			continue
		}
		return clearBelow(v.Field(i), path)
	}
	return false
}

// clearBelow goes into the value of the field that path begins with.
func clearBelow(v reflect.Value, path []string) bool {
	switch {
	case strings.HasSuffix(path[0], "[]"):
		return v.Len() > 0 && clearLeaf(v.Index(0), path[1:])
	case strings.HasSuffix(path[0], "{}"):
		for _, key := range v.MapKeys() {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(key))
			if !clearLeaf(element, path[1:]) {
				return false
			}
			v.SetMapIndex(key, element)
		}
		return v.Len() > 0
	case len(path) == 1:
		was := !v.IsZero()
		v.SetZero()
		return was
	}
	return clearLeaf(v, path[1:])
}

// Fill sets every exported field of the struct that v points to, and of those in it, to
// something that is not zero.
func Fill(v any) { fill(reflect.ValueOf(v).Elem()) }

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if at, ok := v.Addr().Interface().(*time.Time); ok {
			*at = time.Unix(1, 2).UTC()
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if raw, ok := v.Addr().Interface().(*json.RawMessage); ok {
			*raw = json.RawMessage(`{"a":1}`)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("<s>")
	case reflect.Bool:
		v.SetBool(true)
	default:
		if v.CanInt() {
			v.SetInt(7)
		} else if v.CanUint() {
			v.SetUint(7)
		}
	}
}
