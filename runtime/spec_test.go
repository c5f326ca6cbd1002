package runtime

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// elsewhere says of fields that libcontainer's configuration does not show who
// looks at them.
var elsewhere = map[string]string{
	"ociVersion":       "bundle.Validate refuses what it does not know",
	"process.terminal": "the launch makes a terminal, or wants a console socket",
}

// Nothing of the specification is dropped without a word: each field that Linux
// has changes what libcontainer is told, or is refused, or is warned of. A field
// that a newer version of the specification brings must be added to full.json.
func TestEveryFieldCounts(t *testing.T) {
	full := fullSpec(t)
	told, toldProcess, err := convertSpec(full)
	if err != nil {
		t.Fatal("full.json is refused: ", err)
	}
	warned := len(ignoredFields(full))
	for _, leaf := range leaves(reflect.TypeFor[specs.Spec](), "") {
		without := fullSpec(t)
		if !clearLeaf(reflect.ValueOf(without), strings.Split(leaf, ".")) {
			t.Errorf("%s: full.json does not set it", leaf)
			continue
		}
		if elsewhere[leaf] != "" {
			continue
		}
		config, process, err := convertSpec(without)
		if err != nil {
			continue // it was needed
		}
		if reflect.DeepEqual(config, told) && reflect.DeepEqual(process, toldProcess) && len(ignoredFields(without)) == warned {
			t.Errorf("%s: dropped", leaf)
		}
	}
}

func fullSpec(t *testing.T) *specs.Spec {
	t.Helper()
	data, err := os.ReadFile("testdata/full.json")
	if err != nil {
		t.Fatal(err)
	}
	spec := new(specs.Spec)
	if err := json.Unmarshal(data, spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// convertSpec is what libcontainer is told of the spec.
func convertSpec(spec *specs.Spec) (*configs.Config, *libcontainer.Process, error) {
	b := &bundle.Bundle{Dir: "/bundle", Spec: spec}
	if err := b.Validate(); err != nil {
		return nil, nil, err
	}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: "id", Spec: spec})
	if err != nil {
		return nil, nil, err
	}
	process, err := newProcess(spec.Process)
	return config, process, err
}

// leaves lists the paths of the fields that are no objects, as in config.json,
// of those that Linux has. What is in a list has [] in its path, in a map {}.
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

// clearLeaf sets the field at the path to its zero value, in the first of a list
// and in all of a map; false means that it is zero already.
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
