package mountpoints

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// places looks up each directory of a rootfs only once: injected files are many in few directories.
type places struct {
	rootDir string // see bundle.RootDir
	root    *os.File
	known   map[string]location // by their paths in the bundle
}

// A location is a directory in the rootfs, which need not exist.
type location struct {
	path    string // with links of the image resolved
	deepest string // the last directory on the way that exists
}

// missing reports whether the directory does not exist; then nothing can be in it.
func (p location) missing() bool { return p.deepest != p.path }

// resolve follows the links of the image, including the last one, and returns the path in the
// rootfs.
func (p *places) resolve(path string) (string, error) {
	full, err := securejoin.SecureJoin(p.rootDir, path)
	if err != nil {
		return "", err
	}
	return filepath.Clean("/" + strings.TrimPrefix(full, p.rootDir)), nil
}

func (p *places) dir(path string) (location, error) {
	if found, ok := p.known[path]; ok {
		return found, nil
	}
	resolved, err := p.resolve(path)
	if err != nil {
		return location{}, err
	}
	found := location{resolved, deepest(p.root, resolved)}
	p.known[path] = found
	return found, nil
}

// of resolves the path of what is to be mounted or made. If its directory is missing, there is no
// link at the path either.
func (p *places) of(path string) (resolved string, dir location, err error) {
	clean := filepath.Clean("/" + path)
	if strings.Contains(path, "..") || clean == "/" { // ".." applies after links
		resolved, err = p.resolve(path)
		return resolved, location{}, err
	}
	if dir, err = p.dir(filepath.Dir(clean)); err != nil || dir.missing() {
		return filepath.Join(dir.path, filepath.Base(clean)), dir, err
	}
	resolved, err = p.resolve(path)
	return resolved, dir, err
}

// A maker makes mount points and links below one of our directories. It keeps the directory of the
// last one open: often the next one goes there.
type maker struct {
	made   string // ours
	parent string // the open directory, below made
	fd     int
}

func newMaker(made string) *maker { return &maker{made: made, fd: -1} }

func (m *maker) close() {
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
		m.fd = -1
	}
}

// make makes the mount point or link rel, and follows no link out of the directory.
func (m *maker) make(rel string, t target) error {
	parent := rel
	if t.file || t.link != "" {
		parent = filepath.Dir(rel)
	}
	if m.fd < 0 || m.parent != parent {
		fd, err := makeDirs(m.made, parent)
		if err != nil {
			return err
		}
		m.close()
		m.fd, m.parent = fd, parent
	}
	switch {
	case t.link != "":
		return unix.Symlinkat(t.link, m.fd, filepath.Base(rel))
	case !t.file:
		return nil
	}
	err := unix.Mknodat(m.fd, filepath.Base(rel), unix.S_IFREG|0o644, 0)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	fd, err := unix.Openat(m.fd, filepath.Base(rel), unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("make %s: %w", rel, err)
	}
	return unix.Close(fd)
}
