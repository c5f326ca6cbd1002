package request

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A Mount is a directory or file of the host that the user wants in the container, an empty
// directory in memory, or a mount that the user does not want.
type Mount struct {
	// Source is a path of the host. A relative one is of the job's directory. It is empty for a
	// tmpfs.
	Source      string
	Destination string // absolute and clean
	Options     []string
	Tmpfs       bool // an empty directory in memory
	Unmount     bool // nothing else of the site's or the profile's is mounted at Destination
	Optional    bool // nothing is mounted if there is no Source
	Squashfs    bool // what is in the file Source, and not the file
	By          string
}

// The words that take the place of a source, as in pyxis and enroot.
const (
	sourceTmpfs   = "tmpfs"
	sourceUnmount = "umount"
)

// flagSquashfs mounts what is in a squashfs file, as in CSCS's container engine.
const flagSquashfs = "sqsh"

// mountFlags are the flags of a mount that become its options.
var mountFlags = []string{
	"ro", "rw", "bind", "rbind", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable",
	"nosuid", "nodev", "noexec", "suid", "dev", "exec", "relatime", "noatime",
}

var errMount = errors.New("a mount is SOURCE[:DESTINATION[:FLAG+FLAG...]]")

// ParseMount reads SOURCE[:DESTINATION[:FLAG[+FLAG...]]], in which a backslash makes the next
// character an ordinary one. SOURCE is a path, or the word tmpfs or umount. Without DESTINATION an
// absolute SOURCE is mounted at its own path.
func ParseMount(value, by string) (Mount, error) {
	m, err := parseMount(value)
	if err != nil {
		return m, fmt.Errorf("%s: mount %s: %w", by, text.Quoted(value), err)
	}
	m.By = by
	return m, nil
}

func parseMount(value string) (m Mount, err error) {
	parts := splitEscaped(value, ':')
	if len(parts) > 3 || parts[0] == "" {
		return m, errMount
	}
	if strings.ContainsAny(value, "\x00\n") {
		return m, errors.New("a line break or a NUL byte in it")
	}
	switch m.Source = parts[0]; m.Source {
	case sourceTmpfs:
		m.Tmpfs, m.Source = true, ""
	case sourceUnmount:
		m.Unmount, m.Source = true, ""
	}
	switch {
	case len(parts) > 1 && parts[1] != "":
		m.Destination = parts[1]
	case m.Source == "":
		return m, fmt.Errorf("%s needs a destination", parts[0])
	default:
		m.Destination = m.Source
	}
	if !path.IsAbs(m.Destination) {
		return m, fmt.Errorf("the destination %s is not an absolute path", text.Quoted(m.Destination))
	}
	if m.Destination = path.Clean(m.Destination); m.Destination == "/" {
		return m, errors.New("the destination is the root, which is the image's")
	}
	if len(parts) == 3 {
		err = m.setFlags(parts[2])
	}
	return m, err
}

func (m *Mount) setFlags(flags string) error {
	for flag := range strings.FieldsFuncSeq(flags, func(r rune) bool { return r == '+' || r == ',' }) {
		size, isSize := strings.CutPrefix(flag, "size=")
		switch {
		case slices.Contains(mountFlags, flag):
			m.Options = append(m.Options, flag)
		case flag == flagSquashfs:
			if m.Source == "" {
				return errors.New("sqsh is for a squashfs file")
			}
			m.Squashfs = true
		case flag == "optional", flag == "nofail":
			m.Optional = true
		case strings.HasPrefix(flag, "x-create="): // what is missing is always made
		case isSize && m.Tmpfs && size != "" && strings.Trim(strings.TrimRight(size, "kKmMgG%"), "0123456789") == "":
			m.Options = append(m.Options, flag)
		case isSize:
			return errors.New("size= is for a tmpfs, as in tmpfs:/scratch:size=2g")
		default:
			if near := text.Nearest(flag, append(mountFlags, flagSquashfs)); near != "" {
				return fmt.Errorf("unknown flag %s: did you mean %s?", text.Quoted(flag), near)
			}
			return fmt.Errorf("unknown flag %s", text.Quoted(flag))
		}
	}
	if slices.Contains(m.Options, "ro") && slices.Contains(m.Options, "rw") {
		return errors.New("it is both ro and rw")
	}
	return nil
}

// splitEscaped splits the text at the separator, except behind a backslash, which it removes before
// the separator, a comma or another backslash.
func splitEscaped(s string, separator byte) []string {
	parts, part := []string{}, []byte{}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == separator:
			i++
			part = append(part, s[i])
		case s[i] == separator:
			parts, part = append(parts, string(part)), []byte{}
		default:
			part = append(part, s[i])
		}
	}
	return append(parts, string(part))
}

// addMounts adds the mounts of one list. A later list replaces what an earlier one has at the same
// destination; within a list that is a mistake, unless the two are the same.
func (r *Request) addMounts(values []string, by string) error {
	var list []Mount
	for _, value := range values {
		m, err := ParseMount(value, by)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(other Mount) bool { return reflect.DeepEqual(other, m) }) {
			continue
		}
		if slices.ContainsFunc(list, func(other Mount) bool { return other.Destination == m.Destination }) {
			return fmt.Errorf("%s: mount %s: another mount of the list has the same destination", by, text.Quoted(value))
		}
		list = append(list, m)
	}
	r.Mounts = slices.DeleteFunc(r.Mounts, func(old Mount) bool {
		return slices.ContainsFunc(list, func(m Mount) bool { return m.Destination == old.Destination })
	})
	r.Mounts = append(r.Mounts, list...)
	return nil
}
