package text

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	long := strings.Repeat("x", most+1)
	cut := `"` + long[:most] + `"...`
	for _, c := range []struct{ s, printable, quoted, whole string }{
		{"", `""`, `""`, ""},
		{"plain text", "plain text", `"plain text"`, "plain text"},
		{"größe", "größe", `"größe"`, "größe"},
		{"a\x1b[2Jb", `"a\x1b[2Jb"`, `"a\x1b[2Jb"`, `"a\x1b[2Jb"`},
		{"two\nlines", `"two\nlines"`, `"two\nlines"`, `"two\nlines"`},
		{"no UTF-8 \xff", `"no UTF-8 \xff"`, `"no UTF-8 \xff"`, `"no UTF-8 \xff"`},
		{long, cut, cut, long},
	} {
		if got := Printable(c.s); got != c.printable {
			t.Errorf("Printable(%q) = %s, want %s", c.s, got, c.printable)
		}
		if got := Quoted(c.s); got != c.quoted {
			t.Errorf("Quoted(%q) = %s, want %s", c.s, got, c.quoted)
		}
		if got := Whole(c.s); got != c.whole {
			t.Errorf("Whole(%q) = %s, want %s", c.s, got, c.whole)
		}
	}
}
