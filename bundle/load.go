package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// MaxConfigSize is the largest config.json that Load reads, in bytes (16 MiB). Real files have ten
// thousand bytes; with an environment as large as execve allows they have a few million.
const MaxConfigSize = 16 << 20

// pathMax is the kernel's PATH_MAX: a longer path, with its final NUL, names nothing.
const pathMax = 4096

// Load reads dir/config.json and resolves the root filesystem (bundle.md, config.md: root).
//
// A bind mount over / becomes the root file system, by an edit: the first in Bundle.Applied.
//
// dir is made absolute against the working directory; nothing else depends on that, and nothing is
// written. Unknown properties are ignored, as config.md (Extensibility) demands. As in every
// runtime that uses encoding/json, names of properties match without regard to case. Strings keep
// bytes that are not UTF-8, which JSON does not allow but which Slurm writes in a job's
// environment.
//
// Every error is a *ConfigError. Load checks only what it needs itself; Validate checks the rest,
// after the edits.
func Load(dir string) (*Bundle, error) {
	b, err := LoadPlain(dir)
	if err != nil {
		return nil, err
	}
	if bad := b.takeRootMount(); bad != nil {
		bad.File = filepath.Join(b.Dir, ConfigName)
		return nil, bad
	}
	return b, nil
}

// LoadPlain is Load without its own edit: the configuration is as it was written, and a bind mount
// over / stays a mount. The edits that Load makes start from this.
func LoadPlain(dir string) (*Bundle, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &ConfigError{File: filepath.Join(dir, ConfigName), Err: err}
	}
	file := filepath.Join(abs, ConfigName)
	data, err := readConfig(file)
	if err != nil {
		return nil, &ConfigError{File: file, Err: err}
	}
	spec, bad := decode(data)
	if bad != nil {
		bad.File = file
		return nil, bad
	}
	rootfs, bad := rootfsOf(abs, spec)
	if bad != nil {
		bad.File = file
		return nil, bad
	}
	return &Bundle{Dir: abs, Rootfs: rootfs, Spec: spec, Foreign: !utf8.Valid(data)}, nil
}

// readConfig returns the content of a regular file of at most MaxConfigSize bytes.
func readConfig(file string) ([]byte, error) {
	// O_NONBLOCK: opening a fifo without a writer must not block.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is a %s", ErrNotRegular, kind(info.Mode()))
	}
	tooLarge := fmt.Errorf("%w: the limit is %d MiB", ErrTooLarge, MaxConfigSize>>20)
	if info.Size() > MaxConfigSize {
		return nil, tooLarge
	}
	// The file can grow while we read it, and some file systems report size 0.
	var buf bytes.Buffer
	buf.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(f, MaxConfigSize+1)); err != nil {
		return nil, withoutPath(err)
	}
	if buf.Len() > MaxConfigSize {
		return nil, tooLarge
	}
	return buf.Bytes(), nil
}

// openError distinguishes a missing file from one that may not be opened.
func openError(file string, err error) error {
	reason := withoutPath(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, dirErr := os.Stat(filepath.Dir(file)); errors.Is(dirErr, fs.ErrNotExist) {
			return fmt.Errorf("%w: the bundle directory does not exist: %w", ErrNoConfig, reason)
		}
		return fmt.Errorf("%w: %w", ErrNoConfig, reason)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: the bundle is not a directory: %w", ErrNoConfig, reason)
	case errors.Is(err, syscall.ENXIO):
		// A socket, or a device node without a device.
		return fmt.Errorf("%w: %w", ErrNotRegular, reason)
	}
	return reason
}

// withoutPath drops the path of a fs.PathError, since our own error names it.
func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// kind names the type of a file that is not a regular one.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "fifo"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// rootfsOf resolves the root filesystem that spec names.
func rootfsOf(dir string, spec *specs.Spec) (string, *ConfigError) {
	if bad := checkRoot(spec); bad != nil {
		return "", bad
	}
	rootfs, err := resolveRootfs(dir, spec.Root.Path)
	if err != nil {
		return "", &ConfigError{Field: "root.path", Err: err}
	}
	return rootfs, nil
}

// resolveRootfs returns the absolute path, without symlinks, of the directory that path leads to.
// path is relative to dir.
func resolveRootfs(dir, path string) (string, error) {
	if !filepath.IsAbs(path) {
		// filepath.Join would resolve ".." before symlinks; the kernel resolves it after them.
		path = dir + "/" + path
	}
	switch {
	case strings.ContainsRune(path, 0):
		return "", fmt.Errorf("%s contains a NUL byte", text.Printable(path))
	case len(path) >= pathMax:
		return "", fmt.Errorf("%s: %w", text.Printable(path), syscall.ENAMETOOLONG)
	}
	rootfs, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", rootfsError(path, err)
	}
	info, err := os.Stat(rootfs)
	if err != nil {
		return "", rootfsError(path, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%w: %s is not a directory", ErrNoRootfs, text.Printable(path))
	}
	if rootfs == "/" {
		// No launcher can enter it: pivot_root(2) and MS_MOVE both need another mount. By the time
		// they fail, libcontainer has changed the host's /dev.
		return "", fmt.Errorf("%s is the host's own root: give the container a directory of its own", text.Printable(path))
	}
	return rootfs, nil
}

// rootfsError names the path that failed, which can be a directory above.
func rootfsError(path string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		path, err = pathErr.Path, pathErr.Err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %s: %w", ErrNoRootfs, text.Printable(path), err)
	}
	return fmt.Errorf("%s: %w", text.Printable(path), err)
}
