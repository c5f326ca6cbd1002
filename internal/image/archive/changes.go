package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
)

// whiteoutPrefix begins the names of members that say what a layer removes, and opaqueName is the member
// by which a directory hides all that is below it (image-spec, layer.md).
const (
	whiteoutPrefix = ".wh."
	opaqueName     = whiteoutPrefix + whiteoutPrefix + ".opq"
)

// opaqueAttribute is y for directories that hide what is below them, in an overlay that was mounted
// with userxattr (Linux, filesystems/overlayfs.rst).
const opaqueAttribute = "user.overlay.opaque"

// Changes writes the upper directory of an overlay as a layer. Otherwise it is like Directory.
func Changes(ctx context.Context, out io.Writer, upper *os.Root) error {
	return writeDirectory(ctx, out, upper, true)
}

// isWhiteout reports whether the overlay says by this file that another one is gone.
func isWhiteout(st *syscall.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

func (d *directory) whiteout(name string, at time.Time) error {
	return d.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Format: tar.FormatPAX}, at)
}

// opaque writes that a directory hides what is below it, if it does.
func (d *directory) opaque(dir *os.Root, at string, modified time.Time) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	var value [8]byte
	n, err := unix.Fgetxattr(int(f.Fd()), opaqueAttribute, value[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return nil
	case err != nil:
		return fmt.Errorf("%s: read attribute %s: %w", text.Printable(at), opaqueAttribute, err)
	case string(value[:n]) != "y":
		return nil
	}
	return d.whiteout(path.Join(at, opaqueName), modified)
}
