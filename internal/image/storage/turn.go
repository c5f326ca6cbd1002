package storage

import (
	"context"
	"fmt"

	"github.com/ocishim/ocishim/internal/image"
)

// A Turn is held by the process that asks for an image and imports it, from before its first
// request. Of many hosts that start the same image at once, one asks the registry.
type Turn struct{ lease *lease }

// Turn waits for the caller's turn with the image that a reference's digest names. It returns nil if
// done reports that a store has the image. While another process has its turn, Turn calls waiting
// every second. The digest may be an index's, so it says nothing about formats.
func (s *Store) Turn(ctx context.Context, digest image.Digest, job string, waiting func(Holder), done func() bool) (*Turn, error) {
	hex, err := digest.Hex()
	if err != nil {
		return nil, err
	}
	l, err := s.wait(ctx, hex+".source", job, waiting, done)
	if err != nil {
		return nil, fmt.Errorf("wait for image %s: %w", digest, err)
	}
	if l == nil {
		return nil, nil
	}
	return &Turn{l}, nil
}

// End lets others have their turn. It does nothing for nil.
func (t *Turn) End() error {
	if t == nil {
		return nil
	}
	return t.lease.release()
}
