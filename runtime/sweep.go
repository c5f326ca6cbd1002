package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Sweep removes what processes of ours that were killed left in the store:
// entries that nobody will ask for, half made and half removed ones. It looks
// only at what is older than a minute, so a busy store costs a stat per entry.
func (s *Store) Sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		switch {
		case e.IsDir():
			s.sweepEntry(e.Name())
		case strings.HasPrefix(e.Name(), stepPrefix):
			sweepStep(filepath.Join(s.dir, e.Name()))
		}
	}
}

func (s *Store) sweepEntry(name string) {
	if strings.HasPrefix(name, newPrefix) || strings.HasPrefix(name, gonePrefix) {
		removeTree(filepath.Join(s.dir, name))
		return
	}
	c, err := s.load(name)
	if err != nil || !c.abandoned() {
		return
	}
	if err := c.removeIf((*Record).abandoned); err != nil {
		logrus.Debugf("sweep container %q: %v", c.ID, err)
	}
}
