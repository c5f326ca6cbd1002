package rootfs

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/ocishim/ocishim/internal/text"
)

// ErrDiffers says that a tree has changed since it was written.
var ErrDiffers = errors.New("not as it was written")

// An entry is a line of the list of a tree's members, as JSON. It has the digest of a file and
// the target of a link, so that Verify finds every change.
type entry struct {
	Kind   string
	Path   string
	Mode   uint32
	Size   int64
	SHA256 string
	Target string
}

// A line is an entry as it is written. Its strings are quoted as in Go, since JSON cannot hold
// bytes that are not UTF-8.
type line struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Mode   uint32 `json:"mode,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"`
}

func (t *Tree) note(e entry) error {
	data, err := json.Marshal(line{e.Kind, strconv.Quote(e.Path), e.Mode, e.Size, e.SHA256, strconv.Quote(e.Target)})
	if err != nil {
		return fmt.Errorf("write list of members: %w", err)
	}
	if _, err := t.out.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write list of members: %w", err)
	}
	return nil
}

// Verify compares a tree with the list that was written with it. Every listed member has to be
// unchanged, and there must be no others.
func Verify(tree *os.Root, list io.Reader) error {
	lines := bufio.NewScanner(list)
	lines.Buffer(nil, 1<<17)
	listed := map[string]bool{}
	for lines.Scan() {
		e, err := readEntry(lines.Bytes())
		if err != nil {
			return fmt.Errorf("read list of members: %w", err)
		}
		if err := e.verify(tree); err != nil {
			return fmt.Errorf("%s: %w", text.Printable(e.Path), err)
		}
		listed[e.Path] = true
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read list of members: %w", err)
	}
	return eachName(tree, ".", func(path string) error {
		if !listed[path] {
			return fmt.Errorf("%s: %w: a new member", text.Printable(path), ErrDiffers)
		}
		return nil
	})
}

// eachName calls do for everything below a directory. It does not follow links. fs.WalkDir refuses
// directories whose names are not UTF-8.
func eachName(tree *os.Root, dir string, do func(path string) error) error {
	f, err := tree.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			path := e.Name()
			if dir != "." {
				path = dir + "/" + path
			}
			if err := do(path); err != nil {
				return err
			}
			if !e.IsDir() {
				continue
			}
			if err := eachName(tree, path, do); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func readEntry(data []byte) (entry, error) {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return entry{}, err
	}
	path, err := strconv.Unquote(l.Path)
	if err != nil {
		return entry{}, err
	}
	target, err := strconv.Unquote(l.Target)
	if err != nil {
		return entry{}, err
	}
	return entry{l.Kind, path, l.Mode, l.Size, l.SHA256, target}, nil
}

func (e *entry) verify(tree *os.Root) error {
	info, err := tree.Lstat(e.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDiffers, err)
	}
	wrong := func(what string) error { return fmt.Errorf("%w: different %s", ErrDiffers, what) }
	switch e.Kind {
	case "directory":
		if !info.IsDir() || uint32(info.Mode().Perm()) != e.Mode {
			return wrong("mode")
		}
	case "symlink":
		if target, err := tree.Readlink(e.Path); err != nil || target != e.Target {
			return wrong("target")
		}
	case "fifo":
		if info.Mode().Type() != fs.ModeNamedPipe {
			return wrong("kind")
		}
	case "link":
		if other, err := tree.Lstat(e.Target); err != nil || !os.SameFile(info, other) {
			return wrong("file")
		}
	case "file":
		if !info.Mode().IsRegular() || info.Size() != e.Size || uint32(info.Mode().Perm()) != e.Mode {
			return wrong("size or mode")
		}
		f, err := tree.Open(e.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
			return wrong("content")
		}
	default:
		return fmt.Errorf("%w: a member of kind %s", ErrDiffers, text.Quoted(e.Kind))
	}
	return nil
}
