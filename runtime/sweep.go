package runtime

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// sweepAtOnce bounds how many entries one Sweep looks at, which costs 2 µs for each.
// Where there are more, a launch makes one and looks at that many, so that none is
// overlooked for long.
const sweepAtOnce = 64

// Sweep removes what processes of ours that were killed left in the store:
// entries that nobody will ask for, half made and half removed ones. It looks
// only at what is older than a minute; in a store of many entries at some of them,
// by chance.
func (s *Store) Sweep() {
	dir, err := os.Open(s.dir)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	first := 0
	if len(names) > sweepAtOnce {
		first = rand.IntN(len(names))
	}
	for i := range min(len(names), sweepAtOnce) {
		s.sweepName(names[(first+i)%len(names)])
	}
}

func (s *Store) sweepName(name string) {
	info, err := os.Lstat(filepath.Join(s.dir, name))
	switch {
	case err != nil || time.Since(info.ModTime()) < sweepAge:
	case info.IsDir():
		s.sweepEntry(name)
	case strings.HasPrefix(name, stepPrefix):
		sweepStep(filepath.Join(s.dir, name))
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
