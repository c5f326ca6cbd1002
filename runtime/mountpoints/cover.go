package mountpoints

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// maxCovered limits the entries of a covered directory: each becomes a mount.
const maxCovered = 1000

// cover mounts a directory that looks like base over it, with the missing mount points and
// everything that base contains.
func (s *scaffold) cover(root *os.File, base string) error {
	fd, err := inplace.OpenIn(int(root.Fd()), base)
	if err != nil {
		return err
	}
	below := os.NewFile(uintptr(fd), base)
	defer below.Close()
	info, err := below.Stat()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(descriptorPath(fd))
	// libcontainer cannot be given other names: they stay hidden.
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return s.ByPath && !utf8.ValidString(e.Name()) })
	switch {
	case !info.IsDir():
		return errors.New("it is not a directory")
	case err != nil:
		return fmt.Errorf("read the image's directory: %w", errors.Unwrap(err)) // without the descriptor's number
	case len(entries) > maxCovered:
		return fmt.Errorf("it holds %d entries, more than %d", len(entries), maxCovered)
	}
	linksHere := slices.ContainsFunc(s.targets, func(t target) bool { return t.link != "" && t.base == base })
	if temporary(info, entries) && !linksHere {
		s.mount(specs.Mount{Destination: base, Type: "tmpfs", Source: "tmpfs", Options: s.tmpfsOptions()})
		s.bindAll(base, entries)
		return nil
	}
	return s.coverWithCopy(below, base, info, entries)
}

// temporary reports whether everybody may write to the directory, like /tmp. One that contains
// links is copied instead, since a link cannot be bound.
func temporary(info os.FileInfo, entries []os.DirEntry) bool {
	return info.Mode()&os.ModeSticky != 0 && info.Mode().Perm()&0o002 != 0 &&
		!slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Type() == os.ModeSymlink })
}

func (s *scaffold) tmpfsOptions() []string {
	options := []string{"nosuid", "nodev", "mode=1777"}
	if s.readonly {
		options = append(options, "ro")
	}
	return options
}

func (s *scaffold) bindOptions() []string {
	if s.readonly {
		return []string{"rbind", "ro"}
	}
	return []string{"rbind"}
}

func (s *scaffold) mount(m specs.Mount) {
	s.Edit.MountsFirst = append(s.Edit.MountsFirst, m)
}

// bindAll binds the entries of base over the same names in its cover, except those that another
// mount will cover anyway.
func (s *scaffold) bindAll(base string, entries []os.DirEntry) {
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		if e.Type() == os.ModeSymlink || s.mounted[path] || s.gone(path) {
			continue
		}
		s.mount(bundle.Bind(filepath.Join(s.rootfs, path), path, s.bindOptions()...))
		s.OfImage = append(s.OfImage, path)
	}
}

// coverWithCopy makes the cover as a directory of ours: links are made again, and everything else
// becomes an empty file or directory with the original bound over it. The cover of the root becomes
// the container's root.
func (s *scaffold) coverWithCopy(below *os.File, base string, info os.FileInfo, entries []os.DirEntry) error {
	made := filepath.Join(s.dir, strconv.Itoa(s.covers))
	s.covers++
	if err := os.MkdirAll(made, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		if s.gone(filepath.Join(base, e.Name())) {
			continue // replaced
		}
		if err := imitate(below, e, filepath.Join(made, e.Name())); err != nil {
			return err
		}
	}
	points := newMaker(made)
	defer points.close()
	for _, t := range s.targets {
		if t.base != base {
			continue
		}
		if err := points.make(strings.TrimPrefix(t.path, base), t); err != nil {
			return fmt.Errorf("mount point %s: %w", t.path, err)
		}
	}
	if err := os.Chmod(made, info.Mode().Perm()|info.Mode()&os.ModeSticky|0o700); err != nil {
		return err
	}
	if base == "/" {
		s.Edit.RootPath = made
	} else {
		s.mount(bundle.Bind(made, base, s.bindOptions()...))
	}
	s.bindAll(base, entries)
	return nil
}

// imitate makes an entry of the same type as e.
func imitate(dir *os.File, e os.DirEntry, path string) error {
	switch e.Type() {
	case os.ModeSymlink:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(dir.Fd()), e.Name(), buf)
		if err != nil {
			return &os.PathError{Op: "readlink", Path: e.Name(), Err: err}
		}
		return os.Symlink(string(buf[:n]), path)
	case os.ModeDir:
		return os.Mkdir(path, 0o755)
	}
	return os.WriteFile(path, nil, 0o600)
}

// makeDirs makes missing directories on the way from one of ours, and opens the last one. A link on
// the way is an error.
func makeDirs(from, rel string) (fd int, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if fd, err = unix.Open(from, flags, 0); err != nil {
		return -1, err
	}
	for name := range strings.SplitSeq(strings.Trim(rel, "/"), "/") {
		if name == "" || name == "." {
			continue
		}
		if err := unix.Mkdirat(fd, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			_ = unix.Close(fd)
			return -1, err
		}
		next, err := unix.Openat(fd, name, flags, 0)
		_ = unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

// descriptorPath returns a path to an open descriptor.
func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
