package runtime

import (
	"io/fs"
	"strings"

	"github.com/sirupsen/logrus"
)

// Sweep removes what killed processes of ours left in the store: abandoned entries, half
// made and half removed ones, and files of steps that are over; see entry.Sweep.
func (s *Store) Sweep() {
	s.root.Sweep(func(name string, info fs.FileInfo) {
		switch {
		case info.IsDir():
			s.sweepEntry(name)
		case strings.HasPrefix(name, stepPrefix):
			sweepStep(s.root.File(name))
		}
	})
}

func (s *Store) sweepEntry(name string) {
	c, err := s.load(name)
	if err != nil || !c.abandoned() {
		return
	}
	if err := c.removeIf((*Record).abandoned); err != nil {
		logrus.Debugf("sweep container %q: %v", c.ID, err)
	}
}
