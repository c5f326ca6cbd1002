package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
)

// editsFile is the file of an entry with the changes to the bundle's spec. It is for
// people, and apart from the record, so that other verbs need not read it.
const editsFile = "edits.json"

// keepEdits writes the edits to the entry, without the content of files, which is in the
// entry anyway.
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

// Edits returns the changes to the bundle's spec, as a JSON array of bundle.Edit, for as
// long as the container's state exists.
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
