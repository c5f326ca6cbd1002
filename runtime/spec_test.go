package runtime

import (
	"reflect"
	"testing"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/spectest"
)

// elsewhere names, for fields that are not in libcontainer's configuration, what uses them.
var elsewhere = map[string]string{
	"ociVersion":       "bundle.Validate refuses what it does not know",
	"process.terminal": "the launch makes a terminal, or wants a console socket",
}

// Nothing in a spec is ignored silently: each field for Linux changes libcontainer's
// configuration, or is refused, or causes a warning. A new field of the specification must be
// added to full.json.
func TestEveryFieldCounts(t *testing.T) {
	full := fullSpec(t)
	told, toldProcess, err := convertSpec(full)
	if err != nil {
		t.Fatal("full.json is refused: ", err)
	}
	warned := len(ignoredFields(full))
	for _, leaf := range spectest.Leaves() {
		without := fullSpec(t)
		if !spectest.Clear(without, leaf) {
			t.Errorf("%s: full.json does not set it", leaf)
			continue
		}
		if elsewhere[leaf] != "" {
			continue
		}
		config, process, err := convertSpec(without)
		if err != nil {
			continue // without it the spec is refused
		}
		if reflect.DeepEqual(config, told) && reflect.DeepEqual(process, toldProcess) && len(ignoredFields(without)) == warned {
			t.Errorf("%s: dropped", leaf)
		}
	}
}

func fullSpec(t *testing.T) *specs.Spec {
	t.Helper()
	spec, err := spectest.Full()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// convertSpec converts the spec to libcontainer's configuration.
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
