package layers

import (
	"errors"
	"fmt"
)

// ErrTooMuch says that an image is larger than Limits allow, packed or unpacked.
var ErrTooMuch = errors.New("too large")

// Limits bound the work and space that an image may cost.
type Limits struct {
	Layers  int
	Members int64 // of all layers together
	Bytes   int64 // of all members of all layers together, holes included
	// An unpacked layer has at most Floor bytes, or Ratio times its transported size.
	Floor, Ratio int64
	Depth        int // nested directories
}

// DefaultLimits returns limits far above what real images need.
func DefaultLimits() Limits {
	return Limits{Layers: 1000, Members: 4 << 20, Bytes: 1 << 40, Floor: 1 << 30, Ratio: 250, Depth: 200}
}

// unpacked returns how many bytes a layer of the size may unpack to.
func (l Limits) unpacked(size int64) int64 {
	if size > l.Bytes/max(l.Ratio, 1) {
		return l.Bytes
	}
	return min(l.Bytes, max(l.Floor, size*l.Ratio))
}

// A tally counts the members and bytes of all layers.
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
