package runtime

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

// scaffoldDir is the part of an entry that holds mount points.
const scaffoldDir = "scaffold"

// scaffoldEdit is what the edit that uses them comes from.
const scaffoldEdit = "mount points"

// maxCovered bounds the entries of a directory that is covered: each becomes a
// mount.
const maxCovered = 1000

// planScaffold plans mount points for those mounts whose target the rootfs
// lacks, without touching the rootfs: it may be read-only, another user's, or
// shared by a thousand tasks. The deepest directory that exists on the way to
// such a target, its base, is covered by one of the same look, made under dir,
// in which the target exists and into which everything else is bound from
// below. A base that is a place for temporary files gets a tmpfs instead. Where
// what lies in the rootfs is bound by its path, with any of them the root is
// covered, too: a cover mounted in the rootfs itself would hide it.
//
// Mounts below what an earlier mount brings are left alone: their targets
// appear, or are made, there.
//
// Strict is for containers of which nothing is made in a directory of the host, whoever
// names it; for others that holds for what links of the image name.
func planScaffold(b *bundle.Bundle, dir string, byPath, strict bool) (bundle.Edit, error) {
	root, err := os.OpenFile(b.Rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return bundle.Edit{}, fmt.Errorf("open rootfs: %w", err)
	}
	defer root.Close()
	s := scaffold{
		places: places{b.Rootfs, root, map[string]location{}}, view: newView(root),
		dir: dir, byPath: byPath, strict: strict, readonly: b.Spec.Root.Readonly,
	}
	if err := s.find(b.Spec.Mounts, b.Exact); err != nil {
		return bundle.Edit{}, err
	}
	if b.Spec.Process != nil {
		if err := s.findCwd(b.Spec.Process.Cwd); err != nil {
			return bundle.Edit{}, err
		}
	}
	if err := s.findLinks(b.Links); err != nil {
		return bundle.Edit{}, err
	}
	bases := s.bases()
	for _, base := range bases {
		s.mounted[base] = true
	}
	for _, base := range bases {
		if err := s.cover(root, base); err != nil {
			return bundle.Edit{}, fmt.Errorf("make mount points in %s without writing to the image: %w", base, err)
		}
	}
	return s.edit, nil
}

// scaffold is the work of planScaffold.
type scaffold struct {
	places
	view     *view // with all mounts
	dir      string
	readonly bool
	strict   bool
	byPath   bool
	targets  []target        // all mounts, in their order
	mounted  map[string]bool // their paths, and in the end those of covers
	covers   int             // made so far
	edit     bundle.Edit
}

// A target is where a mount goes: a clean path within the rootfs, in which the
// links of the image are resolved.
type target struct {
	path string
	file bool   // a file, else a directory
	link string // a link that holds this, instead of a mount
	// instead is what the image has at the path, or on the way to it, and is left out.
	instead string
	base    string // where it is missing: the directory to cover
}

// find works out the target of every mount and which the rootfs lacks.
func (s *scaffold) find(mounts []specs.Mount, exact []string) error {
	s.mounted = map[string]bool{}
	for _, m := range mounts {
		s.view.over[filepath.Clean("/"+m.Destination)] = m
	}
	so := newView(s.root)
	for i, m := range mounts {
		clean := filepath.Clean("/" + m.Destination)
		if i > 0 {
			s.view.earlier[filepath.Clean("/"+mounts[i-1].Destination)] = true
		}
		switch above := s.goneAbove(clean); {
		case s.mounted[clean]: // over another one
			so.mount(clean, m)
			continue
		case slices.Contains(exact, clean):
			t := s.exactly(m, clean)
			s.targets = append(s.targets, t)
			s.mounted[clean], s.mounted[t.path] = true, true
			if t.base != "" || !s.below(clean) {
				so.mount(clean, m)
				so.mount(t.path, m)
				s.view.earlier[t.path] = true
				continue
			}
		case above != "":
			s.targets = append(s.targets, target{path: clean, file: isFile(m), base: filepath.Dir(above)})
			s.mounted[clean] = true
			so.mount(clean, m)
			continue
		}
		if s.byPath || s.below(clean) {
			if err := s.checkMadeOnHost(m, so); err != nil {
				return err
			}
		}
		so.mount(clean, m)
		if s.mounted[clean] {
			continue
		}
		if !strings.Contains(m.Destination, "..") && s.below(clean) {
			// Where it leads is the business of what is mounted above it.
			s.mounted[clean] = true
			continue
		}
		path, dir, err := s.of(m.Destination)
		if err != nil {
			return fmt.Errorf("resolve mount target %s: %w", m.Destination, err)
		}
		if path == "/" {
			return fmt.Errorf("mount %s at %s: a link of the image makes that the root of the container", nameOf(m), m.Destination)
		}
		t := target{path: path, file: isFile(m)}
		switch {
		case s.below(path):
		case dir.missing():
			t.base = dir.deepest
		case !exists(s.root, path):
			t.base = deepest(s.root, filepath.Dir(path))
		}
		s.targets = append(s.targets, t)
		if strings.Contains(m.Destination, "..") {
			mounts[i].Destination = path // what comes before the dots need not exist
		}
		s.mounted[path] = true
		so.mount(path, m)
		s.view.over[path] = m
		s.view.earlier[path] = true
	}
	return nil
}

// findLinks does so for links that are to appear, which need a cover always.
// Those below a mount are not for the image: see makeLinks.
func (s *scaffold) findLinks(links []bundle.Link) error {
	for _, l := range links {
		dir, err := s.places.dir(filepath.Dir(l.Path))
		if err != nil {
			return fmt.Errorf("resolve place of link %s: %w", l.Path, err)
		}
		path := filepath.Join(dir.path, filepath.Base(l.Path))
		if s.below(path) || s.mounted[path] {
			continue
		}
		s.targets = append(s.targets, target{path: path, link: l.Target, base: dir.deepest})
	}
	return nil
}

// deepest is the last directory on the way to dir that exists in the rootfs.
func deepest(root *os.File, dir string) string {
	for dir != "/" && !exists(root, dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// below tells whether the path lies below the target of a mount found so far.
func (s *scaffold) below(path string) bool {
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		if s.mounted[dir] {
			return true
		}
	}
	return false
}

// bases lists the directories to cover, each once, parents first: the root and
// others, or none.
func (s *scaffold) bases() []string {
	var bases []string
	for _, t := range s.targets {
		if t.base != "" {
			bases = append(bases, t.base)
		}
	}
	if s.byPath && (len(bases) > 0 || !utf8.ValidString(s.rootfs)) {
		bases = append(bases, "/")
	}
	slices.Sort(bases)
	return slices.Compact(bases)
}

// exists tells whether the path leads to something inside the rootfs.
func exists(root *os.File, path string) bool {
	fd, err := inplace.OpenIn(int(root.Fd()), path)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// cover puts a directory that looks like base over it: with the missing mount
// points, and with everything that base holds.
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
	// Other names cannot be told to libcontainer: they stay hidden.
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return s.byPath && !utf8.ValidString(e.Name()) })
	switch {
	case !info.IsDir():
		return errors.New("it is not a directory")
	case err != nil:
		return fmt.Errorf("read the image's directory: %w", errors.Unwrap(err)) // not by the descriptor's number
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

// temporary tells whether the directory is one that everybody may write in,
// as /tmp; one with links in it is copied instead, since a link cannot be
// bound.
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
	s.edit.MountsFirst = append(s.edit.MountsFirst, m)
}

// bindAll binds what base holds over the same names of its cover. A name that
// another mount will cover needs no mount of its own.
func (s *scaffold) bindAll(base string, entries []os.DirEntry) {
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		if e.Type() == os.ModeSymlink || s.mounted[path] || s.gone(path) {
			continue
		}
		s.mount(specs.Mount{Destination: path, Type: "bind", Source: filepath.Join(s.rootfs, path), Options: s.bindOptions()})
	}
}

// coverWithCopy makes the cover as a directory of ours: links are made again,
// all else becomes an empty file or directory with the original bound over it.
// The cover of the root becomes the container's root.
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
		s.edit.RootPath = made
	} else {
		s.mount(specs.Mount{Destination: base, Type: "bind", Source: made, Options: s.bindOptions()})
	}
	s.bindAll(base, entries)
	return nil
}

// imitate makes an entry of the kind of e.
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

// makeDirs makes those directories on the way from one of ours that are missing, and
// opens the last one. A link on the way is an error.
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

// descriptorPath names what an open descriptor stands for.
func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// isFile tells whether the mount puts a file at its target.
func isFile(m specs.Mount) bool {
	if !bundle.IsBind(m) {
		return false
	}
	info, err := os.Stat(m.Source)
	return err == nil && !info.IsDir()
}
