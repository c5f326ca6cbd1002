package layers

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/text"
)

// ErrHostile says that a layer has something that no image needs but an attacker would try.
var ErrHostile = errors.New("refused layer")

// A Kind is what a member is.
type Kind byte

// The kinds of members.
const (
	File Kind = iota
	Directory
	Symlink
	CharDevice
	BlockDevice
	Fifo
	link // a hard link; only in lists of members, never given to a Writer
)

// A Member is one file of an image's root file system.
type Member struct {
	Path         string // from the root, without a slash at either end; any bytes but NUL
	Kind         Kind
	Mode         uint32 // permissions, with setuid, setgid and sticky
	UID, GID     int
	Size         int64 // of a file
	ModTime      time.Time
	Target       string // of a link
	Major, Minor int64  // of a device
	Xattrs       map[string]string
}

// A mark is what a member says about lower layers: nothing, or that something there is removed
// (image-spec, layer.md).
type mark byte

const (
	noMark   mark = iota
	whiteout      // removes what lower layers have at the member's path
	opaque        // removes what lower layers have in the directory at the member's path
	nothing       // the member is ignored: metadata of AUFS, or a global header
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh."
)

// parse makes a member from a header. It counts in lost what cannot be kept.
func (l Limits) parse(h *tar.Header, lost map[string]int64) (Member, mark, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return Member{}, nothing, nil
	}
	m := Member{
		Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid, ModTime: clamp(h.ModTime),
		Target: h.Linkname, Major: h.Devmajor, Minor: h.Devminor,
	}
	var err error
	if m.Path, err = l.clean(h.Name); err != nil {
		return m, noMark, err
	}
	dir, name := split(m.Path)
	said := noMark
	switch {
	case name == opaqueName:
		m.Path, said = dir, opaque
	case strings.HasPrefix(m.Path, aufsPrefix), strings.Contains(m.Path, "/"+aufsPrefix):
		return m, nothing, nil
	case strings.HasPrefix(name, whiteoutPrefix):
		name = strings.TrimPrefix(name, whiteoutPrefix)
		if name == "" || name == "." || name == ".." {
			return m, noMark, fmt.Errorf("%w: a whiteout of %s", ErrHostile, text.Quoted(name))
		}
		m.Path, said = join(dir, name), whiteout
	}
	if said != noMark {
		return m, said, nil
	}
	if m.Kind, err = kindOf(h); err != nil {
		return m, noMark, fmt.Errorf("%s: %w", text.Printable(m.Path), err)
	}
	if m.Kind == File {
		m.Size = h.Size
	}
	if err := l.check(&m); err != nil {
		return m, noMark, fmt.Errorf("%s: %w", text.Printable(m.Path), err)
	}
	if m.Kind == CharDevice && m.Major == 0 && m.Minor == 0 {
		lost["whiteout devices"]++ // overlayfs's whiteouts: kept, they would hide files when mounted
		return m, nothing, nil
	}
	m.Xattrs = xattrs(h, lost)
	return m, noMark, nil
}

func kindOf(h *tar.Header) (Kind, error) {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeCont, tar.TypeGNUSparse: //nolint:staticcheck // old archives have TypeRegA
		return File, nil
	case tar.TypeDir:
		return Directory, nil
	case tar.TypeSymlink:
		return Symlink, nil
	case tar.TypeLink:
		return link, nil
	case tar.TypeChar:
		return CharDevice, nil
	case tar.TypeBlock:
		return BlockDevice, nil
	case tar.TypeFifo:
		return Fifo, nil
	}
	return 0, fmt.Errorf("%w: a member of type %q", ErrHostile, h.Typeflag)
}

// check checks the other fields of a member, and cleans a hard link's target.
func (l Limits) check(m *Member) error {
	const most = 1<<32 - 2 // ids have 32 bits; the highest means "no id"
	if m.UID < 0 || m.GID < 0 || m.UID > most || m.GID > most {
		return fmt.Errorf("%w: owner %d:%d", ErrHostile, m.UID, m.GID)
	}
	if m.Path == "" && m.Kind != Directory {
		return fmt.Errorf("%w: the root is not a directory", ErrHostile)
	}
	switch m.Kind {
	case Symlink:
		if m.Target == "" || len(m.Target) > pathMost || strings.IndexByte(m.Target, 0) >= 0 {
			return fmt.Errorf("%w: a link to %s", ErrHostile, text.Quoted(m.Target))
		}
	case link:
		target, err := l.clean(m.Target)
		if err != nil {
			return fmt.Errorf("a hard link: %w", err)
		}
		m.Target = target
	case CharDevice, BlockDevice:
		if m.Major < 0 || m.Minor < 0 || m.Major > 0xfff || m.Minor > 0xfffff {
			return fmt.Errorf("%w: device %d:%d", ErrHostile, m.Major, m.Minor)
		}
	}
	return nil
}

const (
	pathMost = 4095 // PATH_MAX without its NUL
	nameMost = 255  // NAME_MAX
)

// clean returns a name in an archive as a Path. An absolute name begins at the image's root.
func (l Limits) clean(name string) (string, error) {
	if len(name) > pathMost {
		return "", fmt.Errorf("%w: a name of %d bytes: %s", ErrTooMuch, len(name), text.Quoted(name))
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("%w: a NUL in name %s", ErrHostile, text.Quoted(name))
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", fmt.Errorf("%w: .. in name %s", ErrHostile, text.Quoted(name))
		case len(part) > nameMost:
			return "", fmt.Errorf("%w: a name of %d bytes: %s", ErrTooMuch, len(part), text.Quoted(part))
		}
		parts = append(parts, part)
	}
	if len(parts) > l.Depth {
		return "", fmt.Errorf("%w: %d directories deep: %s", ErrTooMuch, len(parts), text.Quoted(name))
	}
	return strings.Join(parts, "/"), nil
}

func split(path string) (dir, name string) {
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return "", path
	}
	return path[:at], path[at+1:]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// clamp limits times to whole seconds in 32 bits, which every format can hold.
func clamp(t time.Time) time.Time {
	return time.Unix(min(max(t.Unix(), 0), 1<<32-1), 0).UTC()
}

// xattrs returns the extended attributes user.*, except those that overlayfs interprets.
func xattrs(h *tar.Header, lost map[string]int64) map[string]string {
	var kept map[string]string
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		switch {
		case !ok:
		case name == "security.capability":
			lost["capabilities"]++
		case !strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "user.overlay.") || len(name) > nameMost || len(value) > 1<<16:
			lost["extended attributes"]++
		default:
			if kept == nil {
				kept = map[string]string{}
			}
			kept[name] = value
		}
	}
	return kept
}
