package yaml

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestYAML(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"mapping":         {"a: 1\nb: x y\nc:\n", `{"a":1,"b":"x y","c":null}`},
		"nested":          {"a:\n  b:\n    c: d\n  e: f\n", `{"a":{"b":{"c":"d"},"e":"f"}}`},
		"sequence":        {"- a\n- b: 1\n  c: 2\n-\n  - x\n  - y\n", `["a",{"b":1,"c":2},["x","y"]]`},
		"key's column":    {"a:\n- b\n- c: 1\n  d:\n  - e\nf: g\n", `{"a":["b",{"c":1,"d":["e"]}],"f":"g"}`},
		"further in":      {"a:\n    - b\n    - c\nd: e\n", `{"a":["b","c"],"d":"e"}`},
		"comments":        {"# top\n---\na: b # c\n\n  # d\ne: 'f # g'\nh:# i\n", ``},
		"quotes":          {`a: "x\ty\u00e9\"\/"` + "\nb: 'it''s: #1'\n\"c d\": 'e'\n", `{"a":"x\tyé\"/","b":"it's: #1","c d":"e"}`},
		"scalars":         {"a: true\nb: ~\nc: 0660\nd: 0o17\ne: 0x1f\nf: -5\ng: 0.5.0\nh: \"12\"\ni: false\n", `{"a":true,"b":null,"c":432,"d":15,"e":31,"f":-5,"g":"0.5.0","h":"12","i":false}`},
		"flow":            {"a: [x, 'y, z', 3, [true]]\nb: {c: d, e: [f]}\ng: []\nh: {}\n", `{"a":["x","y, z",3,[true]],"b":{"c":"d","e":["f"]},"g":[],"h":{}}`},
		"over lines":      {"a: x\n  y\n  z # c\nb: c\n", `{"a":"x y z","b":"c"}`},
		"colons":          {"a: libcuda.so.1::/usr/lib/libcuda.so\n- b", ``},
		"colons in items": {"- --link\n- libcuda.so.1::/usr/lib/libcuda.so\n- http://x/y\n", `["--link","libcuda.so.1::/usr/lib/libcuda.so","http://x/y"]`},
		"carriage return": {"a: b\r\nc:\r\n- d\r\n", `{"a":"b","c":["d"]}`},
		"scalar":          {"x y", `"x y"`},

		"empty":       {"# nothing\n", ``},
		"tab":         {"a:\n\tb: c\n", ``},
		"twice":       {"a: b\na: c\n", ``},
		"anchor":      {"a: &x b\n", ``},
		"alias":       {"a: *x\n", ``},
		"tag":         {"a: !!str b\n", ``},
		"block":       {"a: |\n  b\n", ``},
		"documents":   {"a: b\n---\nc: d\n", ``},
		"indentation": {"a: b\n  c: d\n", ``},
		"dedent":      {"  a: b\nc: d\n", ``},
		"open quote":  {"a: \"b\n", ``},
		"open list":   {"a: [b, c\n", ``},
		"no mapping":  {"a: b\nc\n", ``},
		"deep":        {strings.Repeat("- ", 200) + "x", ``},
		"deep flow":   {strings.Repeat("[", 200), ``},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			value, err := Parse(test.text)
			if test.want == "" {
				if err == nil {
					t.Errorf("it was read as %v", value)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != test.want {
				t.Errorf("%s is %s, want %s", test.text, data, test.want)
			}
		})
	}
	_, err := Parse("a:\n- b\n- c: |\n")
	if err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
		t.Errorf("got %v", err)
	}
}

func FuzzYAML(f *testing.F) {
	for _, seed := range []string{"a: b\nc:\n- d: 'e'\n  f: [g, {h: 1}]\n", "- - - x\n", "a: x\n  y", "\"k\": \"\\u0041\"", "---\n# c\na:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := Parse(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(value); err != nil {
			t.Error(err)
		}
	})
}
