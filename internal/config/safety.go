package config

import (
	"fmt"
	"os"
	"syscall"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/text"
)

// check refuses what is neither a file nor a directory, and what is not safe.
func (l *loader) check(path string, info os.FileInfo) error {
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: neither a file nor a directory", text.Whole(path))
	}
	if l.anybody {
		return nil
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid)
	if uid != l.owner && !ownedByRoot(uid) {
		return fmt.Errorf("%w: %s belongs to uid %d, not to root", ErrUnsafe, text.Whole(path), uid)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%w: others may write to %s (mode %04o)", ErrUnsafe, text.Whole(path), mode)
	}
	return nil
}

// ownedByRoot reports whether the uid is root's. In a user namespace, where rootless
// engines call us, the host's root has the uid that stands for all users outside the
// namespace.
func ownedByRoot(uid int) bool {
	const overflowUID = 65534
	return uid == 0 || uid == overflowUID && !process.HostIDs()
}
