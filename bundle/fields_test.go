package bundle

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

type inner struct {
	Name   string            `json:"name"`
	Number int               `json:"number,omitempty"`
	List   []string          `json:"list,omitempty"`
	Map    map[string]string `json:"map,omitempty"`
}

type outer struct {
	inner
	inner2
	At     time.Time       `json:"at"`
	Ended  time.Time       `json:"ended,omitzero"`
	User   *specs.User     `json:"user,omitempty"`
	Raw    json.RawMessage `json:"raw,omitempty"`
	Hidden string          `json:"-"`
	own    string
}

type inner2 struct {
	Hook specs.Hook `json:"hook"`
}

// What MarshalFields writes is what encoding/json writes, and both read it alike.
func TestFields(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for name, v := range map[string]outer{
		"nothing":     {},
		"empty lists": {inner: inner{List: []string{}, Map: map[string]string{}}},
		"everything": {
			inner: inner{Name: "<a&\x00\u2028\xff\"", Number: 7, List: []string{"", "b"}, Map: map[string]string{"x": "y"}},
			At:    time.Unix(3, 4).UTC(), Ended: time.Unix(5, 6).UTC(), User: &specs.User{UID: 3, AdditionalGids: []uint32{1}},
			inner2: inner2{specs.Hook{Path: "/x", Args: []string{"y"}}}, Raw: json.RawMessage(`{"a":[1,2]}`), Hidden: "h", own: "o",
		},
		"no time, in a zone": {Ended: time.Time{}.In(zone)},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := MarshalFields(&v)
			if err != nil || string(got) != string(want) {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
			}
			var read, expected outer
			if err := errors.Join(UnmarshalFields(want, &read), json.Unmarshal(want, &expected)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(read, expected) {
				t.Errorf("got  %+v\nwant %+v", read, expected)
			}
		})
	}
}

func TestUnmarshalFields(t *testing.T) {
	var v outer
	if err := UnmarshalFields([]byte(` {"other": {"name": "x"}, "name": "a", "Number": 1, "number": null, "-": "h", "own": "o"} `), &v); err != nil {
		t.Fatal(err)
	}
	if v.Name != "a" || v.Number != 0 || v.Hidden != "" || v.own != "" {
		t.Errorf("%+v", v)
	}
	for _, bad := range []string{
		``, `null`, `[]`, `"name"`, `{`, `{"name"`, `{"name":`, `{"name": "a"`, `{"name": "a",}`, `{"name": "a"} {}`, `{"name": "a"} x`,
		`{"name": 3}`, `{"at": "yesterday"}`, `{"other": nothing}`, `{name: "a"}`, `{"other": ` + strings.Repeat("[", 20_000) + `}`,
	} {
		if err := UnmarshalFields([]byte(bad), new(outer)); err == nil {
			t.Errorf("%.20s: no error", bad)
		}
	}
	if _, err := MarshalFields(struct {
		Bad any `json:"bad"`
	}{func() {}}); err == nil {
		t.Error("a function in JSON: no error")
	}
}
