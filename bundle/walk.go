package bundle

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// checkEverywhere makes the two checks that hold for every property there is,
// those of later versions of the specification included:
//
//   - A property that is for other platforms only is refused rather than
//     ignored. The platform tags of the specification's Go types tell.
//   - A NUL byte ends a string in the kernel, so what was checked would not be
//     what is used. Annotations are excepted: they never reach the kernel.
func checkEverywhere(spec *specs.Spec) *ConfigError {
	return walk(reflect.ValueOf(spec).Elem())
}

// walk checks v and what it holds. It puts the path of the offender together
// on the way back only: a spec without one costs no strings.
func walk(v reflect.Value) *ConfigError {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); strings.IndexByte(s, 0) >= 0 {
			return invalid("", "contains a NUL byte: %s", text.Quoted(s))
		}
	case reflect.Pointer:
		return walk(v.Elem())
	case reflect.Slice:
		return walkSlice(v)
	case reflect.Map:
		return walkMap(v)
	case reflect.Struct:
		return walkStruct(v)
	}
	return nil
}

func walkSlice(v reflect.Value) *ConfigError {
	for i := range v.Len() {
		if bad := walk(v.Index(i)); bad != nil {
			return bad.within(at("", i))
		}
	}
	return nil
}

// walkMap knows that all maps of the specification have strings for keys.
func walkMap(v reflect.Value) *ConfigError {
	values := make(map[string]reflect.Value, v.Len())
	for key, value := range v.Seq2() {
		values[key.String()] = value
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		bad := walk(reflect.ValueOf(key))
		if bad == nil {
			bad = walk(values[key])
		}
		if bad != nil {
			return bad.within("[" + text.Quoted(key) + "]")
		}
	}
	return nil
}

func walkStruct(v reflect.Value) *ConfigError {
	t := v.Type()
	for i := range t.NumField() {
		value := v.Field(i)
		if value.IsZero() {
			continue
		}
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if platform := field.Tag.Get("platform"); platform != "" && !strings.Contains(platform, "linux") {
			return invalid(name, "%w: it is for %s", ErrUnsupported, platform)
		}
		if name == "annotations" {
			continue
		}
		if bad := walk(value); bad != nil {
			return bad.within(name)
		}
	}
	return nil
}

// within puts the name of what holds the field before its path. An embedded
// struct has no name: its fields are its holder's.
func (e *ConfigError) within(name string) *ConfigError {
	if name != "" && e.Field != "" && !strings.HasPrefix(e.Field, "[") {
		name += "."
	}
	e.Field = name + e.Field
	return e
}
