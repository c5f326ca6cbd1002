package request

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/text"
)

// These are the places to which changes of an image's files go.
const (
	WritableNot   = "false"
	WritableTmpfs = "tmpfs"
	WritableDisk  = "disk"
)

var (
	errWritable = errors.New("expected true, false, tmpfs, tmpfs:SIZE or disk")
	errSize     = errors.New("a size is a number, which is not 0, with k, m, g, t or %, such as 4g")
	errBoth     = errors.New("both cannot be true")
)

// setWritable reads whether an image's files can be changed, and where the changes go.
func (r *Request) setWritable(value, by string) error {
	c, err := writable(value, by)
	if err == nil {
		r.Writable = c
	}
	return err
}

func writable(value, by string) (Choice, error) {
	if c, err := truth(value, by); err == nil {
		if c.Value == "true" {
			c.Value = WritableTmpfs
		}
		return c, nil
	}
	mode, size, sized := strings.Cut(value, ":")
	switch {
	case mode == WritableTmpfs && sized && !isSize(size):
		return Choice{}, fmt.Errorf("%s: %s: %w", by, text.Quoted(value), errSize)
	case mode == WritableTmpfs, value == WritableDisk:
		return Choice{value, by}, nil
	}
	return Choice{}, fmt.Errorf("%s: %w, not %s", by, errWritable, text.Quoted(value))
}

// isSize reports whether the value is the size of a tmpfs (tmpfs(5)), and limits it: to tmpfs, 0 is
// no limit.
func isSize(value string) bool {
	digits := strings.TrimRight(value, "kKmMgGtT%")
	unit := value[len(digits):]
	number := strings.TrimLeft(digits, "0")
	whole := strings.Trim(digits, "0123456789") == ""
	if unit == "%" && (len(number) > 2 && number != "100") {
		return false
	}
	return whole && number != "" && len(number) <= 12 && len(unit) <= 1
}

// setOpposite reads the variable that says the opposite of a switch.
func (r *Request) setOpposite(k Key, env []string) error {
	value, _ := bundle.Getenv(env, k.Opposite)
	if k.Opposite == "" || value == "" {
		return nil
	}
	c, err := truth(value, k.Opposite)
	if err != nil {
		return err
	}
	if c.Value == "false" {
		return k.add(r, []string{"true"}, k.Opposite)
	}
	synonym, _ := bundle.Getenv(env, k.Synonym)
	if on, err := truth(synonym, k.Synonym); err == nil && on.Value == "true" {
		return fmt.Errorf("%s and %s: %w", k.Synonym, k.Opposite, errBoth)
	}
	return k.add(r, []string{"false"}, k.Opposite)
}

// IsSwitch reports whether the value is a switch rather than a string.
func IsSwitch(value string) bool { return slices.Contains([]string{"true", "false"}, value) }

var errSave = errors.New("expected a file whose name ends in .sqsh, .sqfs, .squashfs or .tar")

// setSave reads where the changed image is written to.
func (r *Request) setSave(value, by string) error {
	if !slices.Contains([]string{".sqsh", ".sqfs", ".squashfs", ".tar"}, path.Ext(value)) || strings.ContainsAny(value, "\x00\n") {
		return fmt.Errorf("%s: %w, not %s", by, errSave, text.Quoted(value))
	}
	r.Save = Choice{value, by}
	return nil
}
