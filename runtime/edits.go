package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
)

// editsFile is the part of an entry that says what was changed in the bundle's
// spec. It is for people: verbs that read the record pay nothing for it.
const editsFile = "edits.json"

// keepEdits notes the edits, without the content of files: it lies beside.
func (c *Container) keepEdits(edits []bundle.Edit) error {
	if len(edits) == 0 {
		return nil
	}
	data, err := bundle.Marshal(bundle.WithoutContent(edits))
	if err == nil {
		err = os.WriteFile(c.entry.File(editsFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep edits of container %q: %w", c.ID, err)
	}
	return nil
}

// Edits is what was changed in the bundle's spec, a JSON array of bundle.Edit, for
// as long as the container's state is there.
func (c *Container) Edits() (json.RawMessage, error) {
	data, err := entry.ReadFile(c.entry.File(editsFile), entry.MaxRecord)
	if errors.Is(err, os.ErrNotExist) {
		return json.RawMessage("[]"), nil
	}
	if err == nil && !json.Valid(data) {
		err = entry.ErrGarbage
	}
	if err != nil {
		return nil, fmt.Errorf("read edits of container %q: %w", c.ID, err)
	}
	return data, nil
}
