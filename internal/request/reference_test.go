package request

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of keys into the documentation")

// The documentation has the table of keys as the program has it.
func TestReference(t *testing.T) {
	for file, table := range map[string]string{"../../docs/images.md": Reference(), "../../docs/environments.md": FileReference()} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		const begin, end = "<!-- keys -->\n", "<!-- end of keys -->"
		before, rest, found := strings.Cut(string(data), begin)
		old, after, ended := strings.Cut(rest, end)
		switch {
		case !found || !ended:
			t.Errorf("%s has no place for the keys", file)
		case old == table:
		case *update:
			if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
				t.Error(err)
			}
		default:
			t.Errorf("%s: not the table of the program: go test ./internal/request -update", file)
		}
	}
}

// Every key is in the manual, with its variables.
func TestManualHasKeys(t *testing.T) {
	data, err := os.ReadFile("../../docs/ocishim.8")
	if err != nil {
		t.Fatal(err)
	}
	manual := strings.ReplaceAll(string(data), `\-`, "-")
	for _, k := range Keys() {
		for _, name := range []string{k.Variable(), "--" + k.OptionName()} {
			if !strings.Contains(manual, name) {
				t.Errorf("the manual lacks %s", name)
			}
		}
	}
}
