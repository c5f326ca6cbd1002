package runtime

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
)

// Sweep removes what killed processes of ours left in the store: abandoned entries, half
// made and half removed ones, and files of steps that are over; see entry.Sweep.
func (s *Store) Sweep() {
	s.root.Sweep(commandIsOver, func(name string, info fs.FileInfo) {
		switch {
		case info.IsDir():
			s.sweepEntry(name)
		case strings.HasPrefix(name, stepPrefix):
			sweepStep(s.root.File(name))
		case strings.HasPrefix(name, imagePrefix):
			sweepImage(s.root.File(name))
		}
	})
}

// CommandPrefix begins the ids of containers that nobody asks for by name, each for one command:
// "command-", the pid of the process that becomes it, and what else is to be in the id. Nobody
// supervises such a command, so the next launch removes what it left.
const CommandPrefix = "command-"

// commandIsOver reports whether the entry is of a command whose process has ended, by its name
// alone: the record need not be read while it runs.
func commandIsOver(name string) bool {
	rest, found := strings.CutPrefix(name, CommandPrefix)
	pid, _, _ := strings.Cut(rest, ".")
	if !found || pid == "" || strings.Trim(pid, "0123456789") != "" {
		return false
	}
	_, err := os.Lstat("/proc/" + pid)
	return errors.Is(err, fs.ErrNotExist)
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
