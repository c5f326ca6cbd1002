package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

// Dir holds the site's configuration: config.toml and conf.d/*.toml.
const Dir = "/etc/ocishim"

// MaxFileSize bounds the size of a file, in bytes.
const MaxFileSize = 1 << 20

// Options say which files to read.
type Options struct {
	// Path is a file, or a directory like Dir with at least one file. If empty, it is
	// Dir, which may be missing.
	Path string

	// Owner is the uid of a user other than root who may own the files.
	Owner int
}

// Load reads the configuration: the defaults, then config.toml, then the files of
// conf.d in the order of their names; later files override earlier ones. A missing file
// is skipped. A file that cannot be read, or that anyone except root and o.Owner could
// have written, is an error.
func Load(o Options) (*Config, error) {
	l := loader{config: Default(), owner: o.Owner}
	if err := l.load(o.Path); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return l.config, nil
}

// Check returns what is wrong with the content of a file, whoever owns it.
func Check(path string) error {
	l := loader{config: Default(), anybody: true}
	if err := l.file(path); err != nil {
		return fmt.Errorf("check configuration: %w", err)
	}
	return nil
}

// A loader reads one file after the other.
type loader struct {
	config  *Config
	owner   int
	anybody bool // any user may own the files, and write to them
}

// load only tries to open the directory if there is no configuration: every launch pays
// for it.
func (l *loader) load(path string) error {
	site := path == ""
	if site {
		path = Dir
	}
	f, isDir, err := l.open(path)
	if site {
		err = ifThere(err)
	}
	if f == nil {
		return err
	}
	f.Close()
	if !isDir {
		return l.file(path)
	}
	if err := l.directory(path); err != nil {
		return err
	}
	if !site && len(l.config.Files) == 0 {
		return fmt.Errorf("%s: no config.toml and no conf.d/*.toml in it", text.Whole(path))
	}
	return nil
}

// directory reads the files of a directory like Dir.
func (l *loader) directory(dir string) error {
	if err := ifThere(l.file(filepath.Join(dir, "config.toml"))); err != nil {
		return err
	}
	dir = filepath.Join(dir, "conf.d")
	f, isDir, err := l.open(dir)
	if err != nil {
		return ifThere(err)
	}
	defer f.Close()
	if !isDir {
		return fmt.Errorf("%s: not a directory", text.Whole(dir))
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".toml") {
			continue
		}
		if err := ifThere(l.file(filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	return nil
}

// ifThere ignores a missing file.
func ifThere(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (l *loader) file(path string) error {
	f, isDir, err := l.open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if isDir {
		return fmt.Errorf("%s: a directory, where a file is expected", text.Whole(path))
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return err
	}
	if len(data) > MaxFileSize {
		return fmt.Errorf("%s: larger than %d bytes", text.Whole(path), MaxFileSize)
	}
	l.config.Files = append(l.config.Files, path)
	return l.config.merge(path, data)
}

// open opens a regular file or a directory that is safe. A broken link is not
// os.ErrNotExist: someone wants a file to be there.
func (l *loader) open(path string) (f *os.File, isDir bool, err error) {
	const flags = os.O_RDONLY | unix.O_NONBLOCK
	f, err = os.OpenFile(path, flags|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) {
		f, err = os.OpenFile(path, flags, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil, false, fmt.Errorf("%s: a broken symbolic link", text.Whole(path))
		}
	}
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err == nil {
		err = l.check(path, info)
	}
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, info.IsDir(), nil
}
