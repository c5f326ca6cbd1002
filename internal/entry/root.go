package entry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/stateroot"
)

// A Root is a directory with an entry per container. It may contain other files.
type Root struct{ dir string }

// Make opens the first of the directories that exists or can be made, with mode 0700. If
// there are several, it skips those that are not safe; see stateroot.Make.
func Make(dirs ...string) (Root, error) {
	dir, err := stateroot.Make(dirs...)
	return Root{dir: dir}, err
}

// Open opens all of the directories that can be used, each once: two of the paths may lead to the
// same one, such as $XDG_RUNTIME_DIR and /run/user/UID. Without any it returns ErrNotFound, or for
// a single directory that exists the reason why it cannot be used.
func Open(dirs ...string) ([]Root, error) {
	usable, failures := stateroot.Existing(dirs...)
	if len(dirs) == 1 && len(failures) == 1 && !errors.Is(failures[0], os.ErrNotExist) {
		return nil, failures[0]
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("%s: %w", inOneLine(failures), ErrNotFound)
	}
	var roots []Root
	var seen []fs.FileInfo
	for _, dir := range usable {
		info, err := os.Stat(dir)
		if err == nil && slices.ContainsFunc(seen, func(other fs.FileInfo) bool { return os.SameFile(info, other) }) {
			continue
		}
		roots, seen = append(roots, Root{dir: dir}), append(seen, info)
	}
	return roots, nil
}

// inOneLine joins messages in one line, unlike errors.Join.
func inOneLine(failures []error) string {
	var messages []string
	for _, err := range failures {
		messages = append(messages, err.Error())
	}
	return strings.Join(messages, "; ")
}

// At returns a handle on the entry at the path. It checks nothing.
func At(dir string) *Entry { return Root{dir: filepath.Dir(dir)}.Named(filepath.Base(dir)) }

// Dir returns the path of the directory.
func (r Root) Dir() string { return r.dir }

// File returns the path of a file in the directory.
func (r Root) File(name string) string { return filepath.Join(r.dir, name) }

// Named returns a handle on the entry with the name, which need not exist.
func (r Root) Named(name string) *Entry { return &Entry{root: r, dir: filepath.Join(r.dir, name)} }

// A Maker is the process that makes an entry, with the number of its pid namespace.
type Maker struct {
	process.ID
	Numbering uint64
}

// Claim makes the entry of the id with the record, complete from the start, and locks it. If
// there is one already, it calls replace, which may remove that. If replace does not, or is
// nil, Claim returns ErrExists.
func (r Root) Claim(id string, by Maker, record any, replace func(*Entry) error) (*Entry, error) {
	name, err := Name(id)
	if err != nil {
		return nil, err
	}
	fresh, err := os.MkdirTemp(r.dir, fmt.Sprintf("%s%d.%d.%d-", newPrefix, by.Numbering, by.Pid, by.Start))
	if err != nil {
		return nil, err
	}
	e := &Entry{root: r, dir: fresh}
	if err := e.settle(name, record, replace); err != nil {
		e.Unlock()
		_ = os.RemoveAll(fresh)
		return nil, err
	}
	return e, nil
}

// settle writes the record, locks the new entry, and renames it to its name.
func (e *Entry) settle(name string, record any, replace func(*Entry) error) error {
	if err := e.writeFirst(record); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := e.TryLock(); err != nil {
		return err
	}
	dir := e.root.File(name)
	err := unix.Renameat2(unix.AT_FDCWD, e.dir, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) && replace != nil && replace(e.root.Named(name)) == nil {
		err = unix.Renameat2(unix.AT_FDCWD, e.dir, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w in %s", ErrExists, e.root.dir)
	}
	if err != nil {
		return err
	}
	e.dir = dir
	return nil
}

// EachName calls visit for each name in the root, in no particular order, without a list of
// all of them in memory. On the way it sweeps some half made entries.
func (r Root) EachName(visit func(name string)) error {
	dir, err := os.Open(r.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for halves := 0; ; {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if strings.HasPrefix(name, newPrefix) && halves < sweepAtOnce {
				halves++
				r.sweepHalf(name)
				continue
			}
			visit(name)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Names returns the sorted names of the directories that may be entries. It sweeps half made
// entries.
func (r Root) Names() ([]string, error) {
	found, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found {
		switch {
		case !f.IsDir():
		case strings.HasPrefix(f.Name(), newPrefix):
			r.sweepHalf(f.Name())
		case !strings.HasPrefix(f.Name(), "."):
			names = append(names, f.Name())
		}
	}
	return names, nil
}
