package runtime

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ocishim/ocishim/internal/process"
)

// sweepAtOnce bounds how many entries one Sweep looks at, which costs 2 µs for each.
// Where there are more, a launch makes one and looks at that many, so that none is
// overlooked for long.
const sweepAtOnce = 64

// Sweep removes what processes of ours that were killed left in the store:
// entries that nobody will ask for, half made and half removed ones. But for those
// that are being made it looks only at what is older than a minute; in a store of many
// entries at some of them, by chance.
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
	if strings.HasPrefix(name, newPrefix) && s.sweepHalf(name) {
		return
	}
	info, err := os.Lstat(filepath.Join(s.dir, name))
	switch {
	case err != nil || time.Since(info.ModTime()) < sweepAge:
	case info.IsDir():
		s.sweepEntry(name)
	case strings.HasPrefix(name, stepPrefix):
		sweepStep(filepath.Join(s.dir, name))
	}
}

// sweepHalf removes an entry that was being made when its maker was killed, however
// young it is.
func (s *Store) sweepHalf(name string) bool {
	var maker process.ID
	var numbering uint64
	_, err := fmt.Sscanf(name[len(newPrefix):], "%d.%d.%d-", &numbering, &maker.Pid, &maker.Start)
	if err != nil || numbering != process.Numbering() || maker.Alive() {
		return false
	}
	removeTree(filepath.Join(s.dir, name))
	return true
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
