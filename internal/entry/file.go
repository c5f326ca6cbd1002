package entry

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ReadFile reads a file that may be hostile. If it is a link, is not a regular file, or has
// more than limit bytes, ReadFile returns ErrGarbage, and does not follow, wait or read.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("read %s: %w: %w", path, ErrGarbage, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("read %s: %w: %v of %d bytes", path, ErrGarbage, info.Mode().Type(), info.Size())
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
