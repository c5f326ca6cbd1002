package explain

import (
	"bytes"
	"encoding/json"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/ocishim/ocishim/bundle"
)

// Diff compares two configurations in the form of config.json, as diff -u prints it. It
// leaves out links and files, which config.json cannot express.
func Diff(before, after *specs.Spec) ([]byte, error) {
	var texts [2][]byte
	for i, spec := range []*specs.Spec{before, after} {
		text, err := bundle.Marshal(spec)
		var indented bytes.Buffer
		if err == nil {
			err = json.Indent(&indented, text, "", "  ")
		}
		if err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
		texts[i] = append(indented.Bytes(), '\n')
	}
	return diff.Diff("config.json", texts[0], "config.json as it is launched", texts[1]), nil
}
