package bundle

import (
	"encoding/json"
	"testing"
)

func TestEditMarshalJSON(t *testing.T) {
	type plain Edit // without Edit's methods
	for name, e := range map[string]Edit{
		"full": fullEdit(), "nothing": {}, "empty lists": {From: "<a>", Env: []string{}, Annotations: map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := json.Marshal(plain(e))
			if err != nil {
				t.Fatal(err)
			}
			if got := marshal(t, e); got != string(want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
