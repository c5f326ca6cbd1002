// Package archive writes a root file system, from a directory or a squashfs, as a tar archive: the
// form of layers, and the form in which other programs read images. The same root file system
// always gives the same bytes.
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

// ErrName says that a file's name cannot be used in a layer, where it has a special meaning.
var ErrName = errors.New("a name with a special meaning in layers")

// depthMost bounds nested directories, so that a directory that contains itself is an error.
const depthMost = 200

// bufferSize is the size of the pieces in which files are copied, in bytes.
const bufferSize = 1 << 17

// A writer writes the members of an archive.
type writer struct {
	ctx context.Context
	tar *tar.Writer
	buf []byte
}

func newWriter(ctx context.Context, w io.Writer) *writer {
	return &writer{ctx: ctx, tar: tar.NewWriter(w), buf: make([]byte, bufferSize)}
}

// check refuses names that a reader of the layer would take for something else.
func (w *writer) check(member string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if depth > depthMost {
		return fmt.Errorf("%s: more than %d nested directories", text.Printable(member), depthMost)
	}
	if strings.HasPrefix(path.Base(member), whiteoutPrefix) {
		return fmt.Errorf("%s: %w", text.Printable(member), ErrName)
	}
	return nil
}

// header begins a member. Times are whole seconds, so that they need no PAX records.
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

// fill writes a member's content. The content must be as long as its header says.
func (w *writer) fill(content io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{w.tar}, &canceled{w.ctx, io.LimitReader(content, size)}, w.buf)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// A canceled reader fails once its context has ended.
type canceled struct {
	ctx context.Context
	io.Reader
}

// Read reads until the context ends.
func (c *canceled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

// Stream runs write, and returns a reader of what it writes. Closing the reader ends write.
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

// Close cancels the writing and waits for it to end.
func (s *stream) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.done
	return err
}
