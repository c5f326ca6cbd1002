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

// Dir is where the site's configuration is: config.toml and conf.d/*.toml.
const Dir = "/etc/ocishim"

// MaxFileSize is the largest file that is read, in bytes.
const MaxFileSize = 1 << 20

// Options say which files make the configuration.
type Options struct {
	// Path is a file, or a directory like Dir, in which there is at least one.
	// Empty stands for Dir, which need not exist.
	Path string

	// Owner is the uid of somebody else than root who may own the files.
	Owner int
}

// Load reads the configuration: config.toml over the defaults, and over that
// the files of conf.d in the order of their names. A file that does not exist
// is nothing; it is an error when one cannot be read, or when somebody else
// than root and o.Owner could have written it.
func Load(o Options) (*Config, error) {
	l := loader{config: Default(), owner: o.Owner}
	if err := l.load(o.Path); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return l.config, nil
}

// Check says what is wrong with the content of a file, whoever wrote it.
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
	anybody bool // may own the files, and write to them
}

// load opens the directory and nothing else where there is no configuration:
// every launch pays for it.
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

// ifThere lets a file be absent.
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

// open opens a regular file or a directory that is safe. A link to nothing is
// not os.ErrNotExist: somebody wants a file to be there.
func (l *loader) open(path string) (f *os.File, isDir bool, err error) {
	const flags = os.O_RDONLY | unix.O_NONBLOCK
	f, err = os.OpenFile(path, flags|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) {
		f, err = os.OpenFile(path, flags, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil, false, fmt.Errorf("%s: a link to nothing", text.Whole(path))
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
