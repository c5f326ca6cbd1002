package mountpoints

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// ErrHostsDirectory says that something would have to be made in a directory of the host, or of
// another mount.
var ErrHostsDirectory = errors.New("ocishim creates nothing in a directory of the host")

// exactly places a mount of the profile exactly where it says. Links of the image on the way are
// followed within the image. A link that leads into a mount or in circles, and anything at the path
// that is neither a file nor a directory, is replaced by the mount point.
func (s *scaffold) exactly(m specs.Mount, clean string) target {
	t := target{path: clean, file: isFile(m)}
	wanted := uint32(unix.S_IFDIR)
	if t.file {
		wanted = unix.S_IFREG
	}
	if kind, ok := inplace.KindIn(int(s.root.Fd()), clean); ok && kind == wanted && s.view.mountOf(filepath.Dir(clean)) == "" {
		return t
	}
	switch found := s.view.findExact(clean); {
	case found.link != "":
		t.path = filepath.Join(found.link, found.rest)
		t.instead = found.link
		t.base = filepath.Dir(found.link)
	case found.on != "":
		t.path = found.path // on that mount, so nothing of the image is in the way
	case found.kind == 0:
		t.path, t.base = found.path, found.deepest
	case found.kind != wanted:
		t.path, t.instead, t.base = found.path, found.path, filepath.Dir(found.path)
	default:
		t.path = found.path
	}
	return t
}

// gone reports whether the image's path is left out of its cover.
func (s *scaffold) gone(path string) bool {
	return slices.ContainsFunc(s.targets, func(t target) bool { return t.link != "" && t.path == path || t.instead == path })
}

// goneAbove returns the part of the path that another mount point has replaced; empty for none.
func (s *scaffold) goneAbove(path string) string {
	for _, t := range s.targets {
		if t.instead != "" && t.instead != t.path && lies(path, t.instead) {
			return t.instead
		}
	}
	return ""
}

func lies(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// checkMadeOnHost refuses a mount whose target would be made in a mounted directory: in a directory
// of the host that a link of the image leads to or, if strict, in any mount.
func (s *scaffold) checkMadeOnHost(m specs.Mount, so *view) error {
	found := so.findIn(m.Destination)
	linked := found.link != ""
	if found.kind != 0 || found.on == "" || !bundle.IsBind(so.over[found.on]) || !s.Strict && !linked {
		return nil
	}
	return fmt.Errorf("mount %s at %s: %w: %s does not exist in %s, which is mounted from %s",
		bundle.NameOf(m), m.Destination, ErrHostsDirectory, strings.TrimPrefix(found.path, found.on+"/"), found.on, so.over[found.on].Source)
}

// isThere reports whether the directory exists in the container, without checking every link on the
// way: in the image, or in a directory of the host that is mounted at its own path.
func (s *scaffold) isThere(dir string) bool {
	at := s.view.mountOf(dir)
	if at == "" {
		kind, ok := inplace.KindIn(int(s.root.Fd()), dir)
		return ok && kind == unix.S_IFDIR
	}
	if m := s.view.over[at]; !bundle.IsBind(m) || m.Source != at {
		return false
	}
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// findCwd plans the working directory, which libcontainer would make in the image.
func (s *scaffold) findCwd(cwd string) error {
	if found := s.view.find(cwd); strings.Contains(cwd, "/..") && found.link == "" {
		// Directories that it passes by `..` need not exist, and must not be made.
		cwd, s.Edit.Cwd = found.path, found.path
	}
	clean := filepath.Clean("/" + cwd)
	if above := s.goneAbove(clean); above != "" {
		s.targets = append(s.targets, target{path: clean, base: filepath.Dir(above)})
		return nil
	}
	if s.isThere(clean) {
		return nil
	}
	found := s.view.find(cwd)
	linked := found.link != ""
	switch {
	case found.kind != 0 || found.path == "/":
		return nil
	case found.on == "":
		if !linked {
			s.targets = append(s.targets, target{path: found.path, base: found.deepest})
		}
		return nil
	case !bundle.IsBind(s.view.over[found.on]) || !s.Strict && !linked:
		return nil // it is made there
	}
	return fmt.Errorf("enter working directory %s: %w: %s does not exist in %s, which is mounted from %s",
		cwd, ErrHostsDirectory, strings.TrimPrefix(found.path, found.on+"/"), found.on, s.view.over[found.on].Source)
}
