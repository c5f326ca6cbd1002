package stateroot

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// In a directory that all users share, /tmp or Shared, anybody can make a directory under the name
// of another user's root, and so lock that user out. The user then takes a name that nobody can
// predict: ROOT.RANDOM. To find it, others, such as root's cleanup, list the directory and accept
// only what belongs to the user: the sticky bit keeps other users from removing or renaming it.
//
// Several tasks of a step start at once and must agree on one such directory, since it records the
// step's user namespace: see agree.

// chosenFile marks the alternative that everybody uses.
const chosenFile = ".ocishim-chosen"

const randomBytes = 16

// isShared reports whether anybody may make something in the directory, and only owners may remove
// it.
func isShared(dir string) bool {
	var st unix.Stat_t
	const bits = unix.S_ISVTX | unix.S_IWOTH
	return unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&bits == bits && st.Uid == 0
}

// alternatives lists the directories that stand in for the root, by name.
func alternatives(root string) []string {
	dir, err := os.Open(filepath.Dir(root))
	if err != nil {
		return nil
	}
	defer dir.Close()
	var found []string
	prefix := filepath.Base(root) + "."
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			random, ok := strings.CutPrefix(name, prefix)
			if _, herr := hex.DecodeString(random); !ok || herr != nil || len(random) != 2*randomBytes {
				continue
			}
			if path := filepath.Join(dir.Name(), name); Check(path) == nil {
				found = append(found, path)
			}
		}
		if err != nil { // io.EOF, or an error: the list is as far as it could be read
			slices.Sort(found)
			return found
		}
	}
}

// chosen returns the alternative in use; empty for none.
func chosen(root string) string {
	for _, dir := range alternatives(root) {
		if isChosen(dir) {
			return dir
		}
	}
	return ""
}

func isChosen(dir string) bool {
	var st unix.Stat_t
	return unix.Lstat(filepath.Join(dir, chosenFile), &st) == nil
}

// alternative makes a directory beside a root that belongs to another user, or finds the one that
// another process has made meanwhile.
func alternative(root string) (string, error) {
	random := make([]byte, randomBytes)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	own := root + "." + hex.EncodeToString(random)
	if err := os.Mkdir(own, 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	dir, err := agree(root)
	if err != nil {
		return "", fmt.Errorf("choose state directory: %w", err)
	}
	if dir != own {
		_ = os.Remove(own)
	}
	return dir, nil
}

// agree chooses one of the alternatives. A process chooses while it holds the locks (flock) of all
// alternatives that it knew, so two processes never choose at the same time: the later one holds
// the lock of every directory that the earlier one knew, and finds the mark.
func agree(root string) (string, error) {
	for {
		dirs := alternatives(root)
		locks, err := lockAll(dirs)
		if err != nil {
			return "", err
		}
		dir := ""
		if slices.Equal(dirs, alternatives(root)) && len(dirs) > 0 {
			dir, err = choose(dirs)
		}
		for _, f := range locks {
			_ = f.Close()
		}
		if dir != "" || err != nil {
			return dir, err
		}
	}
}

// choose returns the marked directory, and marks the first one if no directory is marked.
func choose(dirs []string) (string, error) {
	for _, dir := range dirs {
		if isChosen(dir) {
			return dir, nil
		}
	}
	f, err := os.OpenFile(filepath.Join(dirs[0], chosenFile), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", err
	}
	return dirs[0], f.Close()
}

// lockAll locks the directories in the given order, which is the same for all processes. It skips a
// directory that has been removed meanwhile: the list has then changed.
func lockAll(dirs []string) (locks []io.Closer, err error) {
	for _, dir := range dirs {
		f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			locks = append(locks, f)
			for err = unix.EINTR; errors.Is(err, unix.EINTR); {
				err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
			}
		}
		if err != nil {
			for _, l := range locks {
				_ = l.Close()
			}
			return nil, err
		}
	}
	return locks, nil
}
