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
			continue // it was needed
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
