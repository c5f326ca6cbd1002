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

// Prefixes of entries that are being made or removed; the name of a complete entry never
// begins with a dot. After newPrefix follows the maker: pid namespace, pid and start time,
// separated by dots and followed by a dash.
const (
	newPrefix  = ".ocishim-new-"
	gonePrefix = ".ocishim-gone-"
)

// SweepAge is how long an abandoned entry is left alone. Slurm's cleanup may still come, and
// young entries need not be read at all.
const SweepAge = time.Minute

// sweepAtOnce is how many names one Sweep looks at, at most, which takes 2 µs for each. Each
// launch makes one entry and looks at up to 64, so none is overlooked for long.
const sweepAtOnce = 64

// Sweep removes what killed processes of ours left half made or half removed, and calls visit
// for everything else that is older than SweepAge, or whose name shows that it is over. In a root
// with many names it looks at a random part of them.
func (r Root) Sweep(over func(name string) bool, visit func(name string, info fs.FileInfo)) {
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
		r.sweepName(names[(first+i)%len(names)], over, visit)
	}
}

// NotOver is for roots in which no name shows that a container is over.
func NotOver(string) bool { return false }

func (r Root) sweepName(name string, over func(string) bool, visit func(string, fs.FileInfo)) {
	half := strings.HasPrefix(name, newPrefix)
	if half && r.sweepHalf(name) {
		return
	}
	info, err := os.Lstat(r.File(name))
	switch {
	case err != nil || time.Since(info.ModTime()) < SweepAge && !over(name):
	case info.IsDir() && (half || strings.HasPrefix(name, gonePrefix)):
		RemoveTree(r.File(name))
	default:
		visit(name, info)
	}
}

// sweepHalf removes an entry whose maker was killed while it made it, however young it is.
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

// RemoveTree removes what it can of a directory that a container may have written to,
// including directories that its owner may not enter. Sweep tries again to remove the rest,
// such as files of subordinate ids.
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
