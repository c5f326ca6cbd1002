package layers

import (
	"errors"
	"fmt"
)

// ErrTooMuch says that an image is larger than Limits allow, be it by its size or by what
// becomes of a small one.
var ErrTooMuch = errors.New("too large")

// Limits bound what an image may make us do.
type Limits struct {
	Layers  int
	Members int64 // of all layers together
	Bytes   int64 // of all members of all layers together, holes included
	// A layer has at most Floor bytes, or Ratio times its size as it is transported.
	Floor, Ratio int64
	Depth        int // directories in each other
}

// DefaultLimits are far above what images of programs need.
func DefaultLimits() Limits {
	return Limits{Layers: 1000, Members: 4 << 20, Bytes: 1 << 40, Floor: 1 << 30, Ratio: 250, Depth: 200}
}

// unpacked is how many bytes a layer of the size may become.
func (l Limits) unpacked(size int64) int64 {
	if size > l.Bytes/max(l.Ratio, 1) {
		return l.Bytes
	}
	return min(l.Bytes, max(l.Floor, size*l.Ratio))
}

// A tally counts what all layers have together.
type tally struct {
	limits         Limits
	members, bytes int64
}

func (t *tally) add(size int64) error {
	if size < 0 || size > t.limits.Bytes-t.bytes {
		return fmt.Errorf("%w: files of more than %d bytes", ErrTooMuch, t.limits.Bytes)
	}
	t.bytes += size
	if t.members++; t.members > t.limits.Members {
		return fmt.Errorf("%w: more than %d members", ErrTooMuch, t.limits.Members)
	}
	return nil
}
