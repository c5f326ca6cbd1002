// Package archive writes a root file system, a directory or a squashfs, as a tar archive:
// the form in which layers are read, and in which other programs take images. The same root
// file system always gives the same bytes.
package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/text"
)

// ErrName says that a name cannot be in an archive of a layer, where it has a meaning.
var ErrName = errors.New("a name that means something in layers")

// depthMost bounds directories in each other, so that one that contains itself ends.
const depthMost = 200

// bufferSize is of the pieces in which files are copied.
const bufferSize = 1 << 17

// A writer writes members.
type writer struct {
	ctx context.Context
	tar *tar.Writer
	buf []byte
}

func newWriter(ctx context.Context, w io.Writer) *writer {
	return &writer{ctx: ctx, tar: tar.NewWriter(w), buf: make([]byte, bufferSize)}
}

// check refuses what would be read as something else than what it is.
func (w *writer) check(member string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if depth > depthMost {
		return fmt.Errorf("%s: more than %d directories in each other", text.Printable(member), depthMost)
	}
	if strings.HasPrefix(path.Base(member), ".wh.") {
		return fmt.Errorf("%s: %w", text.Printable(member), ErrName)
	}
	return nil
}

// header begins a member; times are whole seconds, so that they need no further records.
func (w *writer) header(h *tar.Header, at time.Time) error {
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	h.ModTime = time.Unix(min(max(at.Unix(), 0), 1<<32-1), 0)
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", text.Printable(h.Name), err)
	}
	return nil
}

// fill writes a member's content, which has to be as long as its header says.
func (w *writer) fill(content io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{w.tar}, &canceled{w.ctx, io.LimitReader(content, size)}, w.buf)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// A canceled reader ends with its context.
type canceled struct {
	ctx context.Context
	io.Reader
}

// Read is the reader's, as long as the context is not done.
func (c *canceled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

// Stream returns what write writes, while it writes it. Closing it ends the writing.
func Stream(ctx context.Context, write func(context.Context, io.Writer) error) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(write(ctx, w))
	}()
	return &stream{PipeReader: r, cancel: cancel, done: done}
}

type stream struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the writing, and waits for its end.
func (s *stream) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.done
	return err
}
