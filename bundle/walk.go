package bundle

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// checkEverywhere makes the two checks that apply to every property, including those of later
// versions of the specification:
//
//   - A property that exists only for other platforms is refused rather than ignored. The
//     platform tags of the specification's Go types identify it.
//   - A NUL byte ends a string in the kernel, so the string used would differ from the
//     string checked. Annotations may have one: they never reach the kernel.
func checkEverywhere(spec *specs.Spec) *ConfigError {
	return walk(reflect.ValueOf(spec).Elem())
}

// walk checks v and what it holds. It builds the path of a wrong value only on the way back,
// so a valid spec costs no strings.
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

// walkMap relies on all maps of the specification having string keys.
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

// within puts the name of the enclosing value before the field's path. An embedded struct adds no
// name: its fields belong to the struct that embeds it.
func (e *ConfigError) within(name string) *ConfigError {
	if name != "" && e.Field != "" && !strings.HasPrefix(e.Field, "[") {
		name += "."
	}
	e.Field = name + e.Field
	return e
}
