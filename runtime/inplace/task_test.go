package inplace

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/spectest"
)

// Tasks are written and read as encoding/json would: exec reads those of earlier versions.
func TestTaskJSON(t *testing.T) {
	type plain Task // without the methods
	full := new(Task)
	spectest.Fill(full)
	full.Extras = Extras{} // in Packed
	for name, task := range map[string]*Task{"full": full, "empty": {}} {
		want, err := json.Marshal((*plain)(task))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bundle.Marshal(task); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
		read := new(Task)
		if err := bundle.Unmarshal(want, read); err != nil || !reflect.DeepEqual(read, task) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, read, task)
		}
	}
}
