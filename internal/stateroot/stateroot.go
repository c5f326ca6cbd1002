// Package stateroot finds and makes the directories that hold the state of a user's containers, and
// checks that they are safe: owned by the user, not a link, and not writable for others.
package stateroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// These errors come wrapped with the path that they are about.
var (
	ErrUnsafe = errors.New("unsafe state directory")
	ErrNone   = errors.New("no usable state directory")
)

// Shared is the directory that a site provides for users without /run/user/UID: tmpfiles.d makes it
// at boot with mode 1777.
const Shared = "/run/ocishim"

// Check requires a directory that belongs to the caller, is not a symbolic link, and is not
// writable for others. A missing one is os.ErrNotExist, an unsafe one ErrUnsafe.
func Check(root string) error {
	if err := checkMount(root); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return &os.PathError{Op: "open state directory", Path: root, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return fmt.Errorf("%w %s: it is a symbolic link", ErrUnsafe, root)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%w %s: it is not a directory", ErrUnsafe, root)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w %s: it belongs to uid %d, not to uid %d", ErrUnsafe, root, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%w %s: others may write in it (mode %04o)", ErrUnsafe, root, st.Mode&0o7777)
	}
	return nil
}

// Make returns the first root that exists or can be made, with mode 0700. If there are several, it
// skips unsafe ones: each is checked, and in a shared directory anybody can make one. In a shared
// directory the user gets one with another name instead, see alternative. If none is usable the
// error is ErrNone, or ErrUnsafe for a single root.
func Make(roots ...string) (string, error) {
	var failures []error
	for _, root := range roots {
		dir, err := makeOne(root, len(roots) > 1)
		if err == nil {
			return dir, nil
		}
		if len(roots) == 1 && errors.Is(err, ErrUnsafe) {
			return "", err
		}
		failures = append(failures, err)
	}
	return "", fmt.Errorf("%w: %s", ErrNone, inOneLine(failures))
}

func makeOne(root string, byDefault bool) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("open state directory: %w", err)
	}
	err = Check(root)
	if err == nil {
		return root, nil
	}
	missing := errors.Is(err, os.ErrNotExist)
	if byDefault && (missing || errors.Is(err, ErrUnsafe)) && isShared(filepath.Dir(root)) {
		if dir := chosen(root); dir != "" {
			return dir, nil
		}
		if !missing {
			return alternative(root)
		}
	}
	if !missing {
		return "", err
	}
	if err := makeDirectory(root); err != nil {
		return "", err
	}
	return root, Check(root)
}

// makeDirectory makes a state root, with its parents if necessary, as runc does.
func makeDirectory(root string) error {
	if filepath.Dir(root) == Shared && os.Geteuid() == 0 {
		// Not 0700: the users' roots are beside root's.
		if err := os.Mkdir(Shared, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make state directory: %w", err)
		}
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	return nil
}

// Existing returns the roots that are usable, and the reasons why others are not. If there are
// several, they are the defaults, and each may have an alternative beside it.
func Existing(roots ...string) (usable []string, failures []error) {
	for _, root := range roots {
		root, err := filepath.Abs(root)
		if err == nil {
			err = Check(root)
		}
		if err == nil {
			usable = append(usable, root)
		}
		var others []string
		if len(roots) > 1 && isShared(filepath.Dir(root)) {
			others = alternatives(root)
		}
		usable = append(usable, others...)
		if err != nil && len(others) == 0 {
			failures = append(failures, err)
		}
	}
	return usable, failures
}

// inOneLine joins messages; errors.Join would put each on a line of its own.
func inOneLine(failures []error) string {
	var messages []string
	for _, err := range failures {
		messages = append(messages, err.Error())
	}
	return strings.Join(messages, "; ")
}
