package entry

import (
	"errors"
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	for id, want := range map[string]string{
		"web":                        "web",
		"n1.alice.5.4294967291.-1":   "n1.alice.5.4294967291.-1",
		"n1.alice@realm.5.0.0":       "n1.alice+40realm.5.0.0",
		"a+40b":                      "a+2b40b",
		`n1.DOMAIN\alice.5.0.0`:      "n1.DOMAIN+5calice.5.0.0",
		"ünï":                        "+c3+bcn+c3+af",
		"...":                        "+2e..",
		".hidden":                    "+2ehidden",
		strings.Repeat("x", 255):     strings.Repeat("x", 255),
		"-rf":                        "-rf",
		"a:b":                        "a+3ab",
		"c1.machine$.9.4294967292.0": "c1.machine+24.9.4294967292.0",
	} {
		if got, err := Name(id); err != nil || got != want {
			t.Errorf("Name(%q) = %q, %v, want %q", id, got, err, want)
		}
		if got := ID(want); got != id {
			t.Errorf("ID(%q) = %q, want %q", want, got, id)
		}
	}
}

func TestNameRefuses(t *testing.T) {
	for _, id := range []string{
		"", ".", "..", "../etc", "/etc", "a/b", "a b", "a\nb", "a\x00b", "\x7f", "a\tb",
		strings.Repeat("x", 256), strings.Repeat("@", 86),
	} {
		if got, err := Name(id); !errors.Is(err, ErrInvalidID) {
			t.Errorf("Name(%q) = %q, %v, want ErrInvalidID", id, got, err)
		}
	}
}

// Two ids never share an entry, and an entry never leaves its root.
func FuzzName(f *testing.F) {
	f.Add("n1.alice@realm.5.0.0", "n1.alice+40realm.5.0.0")
	f.Add("a+b", "a+2bb")
	f.Add(".ocishim-new-1", "+2eocishim-new-1")
	f.Fuzz(func(t *testing.T, a, b string) {
		an, aerr := Name(a)
		bn, berr := Name(b)
		if aerr != nil || berr != nil {
			return
		}
		if a != b && an == bn {
			t.Errorf("%q and %q share the entry %q", a, b, an)
		}
		if strings.Contains(an, "/") || strings.HasPrefix(an, ".") {
			t.Errorf("%q has the entry %q", a, an)
		}
	})
}
