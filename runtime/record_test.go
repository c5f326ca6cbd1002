package runtime

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/spectest"
)

// Records are written and read as encoding/json would, so that earlier versions can read them.
func TestRecordOnDisk(t *testing.T) {
	type plain recordOnDisk // without the methods
	full := new(recordOnDisk)
	spectest.Fill(full)
	for name, f := range map[string]*recordOnDisk{"full": full, "empty": {}} {
		want, err := json.Marshal((*plain)(f))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bundle.Marshal(f); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
		read := new(recordOnDisk)
		if err := bundle.Unmarshal(want, read); err != nil || !reflect.DeepEqual(read, f) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, read, f)
		}
	}
}

func TestKeptProcess(t *testing.T) {
	spec, err := spectest.Full()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*specs.Process{"full": spec.Process, "empty": {}} {
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bundle.Marshal(keptProcess{*p}); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
	}
}
