package rootfs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrNoSquashfs says that this host cannot make files of squashfs.
var ErrNoSquashfs = errors.New("no mksquashfs here: install squashfs-tools, 4.5 or newer")

// A Squashfs writes a root file system as one file, by mksquashfs of squashfs-tools, which
// reads a tar archive: nothing is unpacked, and owners, modes and devices are kept without
// root's rights. sqfstar does the same, and has a compression level only from 4.6 on.
type Squashfs struct {
	ctx    context.Context
	parent *os.Root
	name   string

	cmd     *exec.Cmd
	pipe    io.WriteCloser
	buffer  *bufio.Writer
	archive *tar.Writer
	said    bytes.Buffer
}

// level is of zstd: mksquashfs's own 15 takes 8 times as long for a fiftieth less.
const level = 3

// searchPath is where mksquashfs is looked for; the caller's PATH says nothing.
const searchPath = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"

// NewSquashfs writes the file of that name in parent, until the context ends.
func NewSquashfs(ctx context.Context, parent *os.Root, name string) *Squashfs {
	return &Squashfs{ctx: ctx, parent: parent, name: name}
}

// CanSquashfs returns the path of mksquashfs, or ErrNoSquashfs.
func CanSquashfs() (string, error) {
	for dir := range strings.SplitSeq(searchPath, ":") {
		if info, err := os.Stat(dir + "/mksquashfs"); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return dir + "/mksquashfs", nil
		}
	}
	return "", ErrNoSquashfs
}

// Begin starts mksquashfs; one that runs is ended, and its file removed.
func (s *Squashfs) Begin() error {
	s.Close()
	program, err := CanSquashfs()
	if err != nil {
		return err
	}
	if err := s.parent.RemoveAll(s.name); err != nil {
		return err
	}
	dir, err := s.parent.Open(".")
	if err != nil {
		return fmt.Errorf("open directory of image: %w", err)
	}
	defer dir.Close()
	s.said.Reset()
	s.cmd = exec.CommandContext(s.ctx, program, "-", "/proc/self/fd/3/"+s.name, "-tar",
		"-comp", "zstd", "-Xcompression-level", strconv.Itoa(level),
		"-root-mode", "0755", "-root-uid", "0", "-root-gid", "0", "-root-time", "0", "-mkfs-time", "0",
		"-mem", "1G", "-processors", strconv.Itoa(runtime.GOMAXPROCS(0)),
		"-exit-on-error", "-quiet", "-no-progress")
	s.cmd.Env = []string{"PATH=" + searchPath, "LC_ALL=C"}
	s.cmd.Dir = "/"
	s.cmd.ExtraFiles = []*os.File{dir} // by descriptor: the directory is that which is meant
	s.cmd.Stdout = &bounded{&s.said}
	s.cmd.Stderr = s.cmd.Stdout
	if s.pipe, err = s.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start mksquashfs: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("start mksquashfs: %w", err)
	}
	s.buffer = bufio.NewWriterSize(s.pipe, 1<<20)
	s.archive = tar.NewWriter(s.buffer)
	return nil
}

// bounded keeps the first few lines that a program prints.
type bounded struct{ *bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if free := 4096 - b.Len(); free > 0 {
		b.Buffer.Write(p[:min(len(p), free)])
	}
	return len(p), nil
}

// Close ends mksquashfs where it still runs.
func (s *Squashfs) Close() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.pipe.Close()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Finish waits until the file is whole, and writes it to the disk.
func (s *Squashfs) Finish() error {
	err := errors.Join(s.archive.Close(), s.buffer.Flush(), s.pipe.Close())
	if err := s.end(err); err != nil {
		return err
	}
	f, err := s.parent.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open image: %w", err)
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return nil
}

// end waits for mksquashfs, and explains what it or a write to it failed with.
func (s *Squashfs) end(failed error) error {
	err := s.cmd.Wait()
	s.cmd = nil
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("make squashfs: mksquashfs: %w: %s", err, text.Printable(strings.TrimSpace(s.said.String())))
	}
	return failed
}

// failed is what to return when a write fails: mksquashfs says why it has ended.
func (s *Squashfs) failed(err error) error {
	if err == nil || s.cmd == nil {
		return err
	}
	_ = s.pipe.Close()
	return s.end(err)
}

func (s *Squashfs) header(m *layers.Member, kind byte) error {
	h := &tar.Header{
		Typeflag: kind, Name: m.Path, Linkname: m.Target, Size: m.Size, Mode: int64(m.Mode), Uid: m.UID, Gid: m.GID,
		ModTime: m.ModTime, Devmajor: m.Major, Devminor: m.Minor,
		// Of a link's target in a PAX header, mksquashfs 4.5.1 takes away the leading slash.
		Format: tar.FormatGNU,
	}
	if kind == tar.TypeDir {
		h.Name += "/"
	}
	if len(m.Xattrs) > 0 && kind != tar.TypeSymlink { // a link cannot have those of user.*
		h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{}
		for name, value := range m.Xattrs {
			h.PAXRecords["SCHILY.xattr."+name] = value
		}
	}
	return s.archive.WriteHeader(h)
}

// File writes a file.
func (s *Squashfs) File(m layers.Member, content io.Reader) error {
	if err := s.header(&m, tar.TypeReg); err != nil {
		return s.failed(err)
	}
	from := &remembering{Reader: content}
	n, err := io.Copy(s.archive, from)
	switch {
	case from.err != nil: // the layer's fault
		return from.err
	case err == nil && n != m.Size:
		return io.ErrUnexpectedEOF
	}
	return s.failed(err)
}

// remembering knows whether it was the reader that failed.
type remembering struct {
	io.Reader
	err error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// Link makes another name of a file.
func (s *Squashfs) Link(path, file string) error {
	return s.failed(s.header(&layers.Member{Path: path, Target: file}, tar.TypeLink))
}

// Other makes symbolic links, devices and fifos.
func (s *Squashfs) Other(m layers.Member) error {
	kind := map[layers.Kind]byte{
		layers.Symlink: tar.TypeSymlink, layers.CharDevice: tar.TypeChar, layers.BlockDevice: tar.TypeBlock, layers.Fifo: tar.TypeFifo,
	}[m.Kind]
	return s.failed(s.header(&m, kind))
}

// Directory makes a directory, or tells more of one that files made.
func (s *Squashfs) Directory(m layers.Member) error { return s.failed(s.header(&m, tar.TypeDir)) }
