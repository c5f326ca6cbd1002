package entry

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ocishim/ocishim/internal/process"
)

// Names of what is being made or removed; no entry's name begins with a dot. What is made
// has its maker in its name: pid namespace, pid and start time, with dots between them and
// a dash behind.
const (
	newPrefix  = ".ocishim-new-"
	gonePrefix = ".ocishim-gone-"
)

// SweepAge is how long an abandoned entry is left alone: Slurm's cleanup may still be on its
// way, and a young entry need not be read at all.
const SweepAge = time.Minute

// sweepAtOnce bounds how many names one Sweep looks at, which costs 2 µs for each. Where
// there are more, a launch makes one and looks at that many, so that none is overlooked for
// long.
const sweepAtOnce = 64

// Sweep removes what processes of ours that were killed left half made or half removed, and
// calls visit for all else that is older than SweepAge. In a root of many names it looks at
// some of them, by chance.
func (r Root) Sweep(visit func(name string, info fs.FileInfo)) {
	dir, err := os.Open(r.dir)
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
		r.sweepName(names[(first+i)%len(names)], visit)
	}
}

func (r Root) sweepName(name string, visit func(string, fs.FileInfo)) {
	half := strings.HasPrefix(name, newPrefix)
	if half && r.sweepHalf(name) {
		return
	}
	info, err := os.Lstat(r.File(name))
	switch {
	case err != nil || time.Since(info.ModTime()) < SweepAge:
	case info.IsDir() && (half || strings.HasPrefix(name, gonePrefix)):
		RemoveTree(r.File(name))
	default:
		visit(name, info)
	}
}

// sweepHalf removes an entry that was being made when its maker was killed, however young
// it is.
func (r Root) sweepHalf(name string) bool {
	var maker process.ID
	var numbering uint64
	_, err := fmt.Sscanf(name[len(newPrefix):], "%d.%d.%d-", &numbering, &maker.Pid, &maker.Start)
	if err != nil || numbering != process.Numbering() || maker.Alive() {
		return false
	}
	RemoveTree(r.File(name))
	return true
}

// RemoveTree removes what it can of a directory that a container may have written in:
// directories without permissions for their owner included. What stays behind, such as
// files of subordinate ids, is tried again by Sweep.
func RemoveTree(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		logrus.Debugf("remove %s: %v", dir, err)
	}
}
