package main

import (
	"errors"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// turn waits for this process's turn to ask a registry for a digest. If another process imports the
// image meanwhile, turn returns the image.
func (p *program) turn(c *cli.Context, s *storage.Store, stores image.Stores, r image.Reference, w wish) (t *storage.Turn, found *image.Image, err error) {
	if r.Kind != image.KindRegistry || r.Digest == "" {
		return nil, nil, nil
	}
	shown := newProgress(os.Stderr, r.String(), 0)
	defer shown.end()
	var failed error
	t, err = s.Turn(c.Context, r.Digest, p.job(), shown.waiting, func() bool {
		found, failed = p.inStore(c, s, stores, r, w)
		return found != nil || failed != nil
	})
	return t, found, errors.Join(err, failed)
}
