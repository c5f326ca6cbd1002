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

// ErrNoSquashfs says that this host cannot make squashfs files.
var ErrNoSquashfs = errors.New("mksquashfs is missing: install squashfs-tools 4.5 or newer")

// A Squashfs writes a root file system as one file. It streams a tar archive to mksquashfs of
// squashfs-tools: nothing is unpacked, and owners, modes and devices are kept without root's
// rights. sqfstar does the same, but cannot set the compression level before 4.6.
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

// level is the zstd level. The default of mksquashfs, 15, takes 8 times as long and makes the
// file only 2% smaller.
const level = 3

// searchPath is where to look for mksquashfs; the caller's PATH is not used.
const searchPath = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"

// NewSquashfs returns a writer of the file called name in parent. The context ends mksquashfs.
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

// Begin starts mksquashfs. If it is already running, Begin ends it and removes its file first.
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
	s.cmd.ExtraFiles = []*os.File{dir} // a descriptor: the path could lead to another directory by now
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

// Close ends mksquashfs if it is still running.
func (s *Squashfs) Close() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.pipe.Close()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Finish waits until the file is complete, and syncs it to disk.
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

// end waits for mksquashfs. If mksquashfs failed, it returns that error and what mksquashfs
// printed, otherwise the given error of a write.
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

// failed returns what end makes of the error of a write: mksquashfs says why it has exited.
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
		// mksquashfs 4.5.1 drops the leading slash of a link's target in a PAX header.
		Format: tar.FormatGNU,
	}
	if kind == tar.TypeDir {
		h.Name += "/"
	}
	if len(m.Xattrs) > 0 && kind != tar.TypeSymlink { // a link cannot have user.* attributes
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
	case from.err != nil: // reading the layer failed, not writing
		return from.err
	case err == nil && n != m.Size:
		return io.ErrUnexpectedEOF
	}
	return s.failed(err)
}

// remembering is a reader that remembers its error.
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

// Link makes another name for a file.
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

// Directory makes a directory, or sets the attributes of one that was made for a file in it.
func (s *Squashfs) Directory(m layers.Member) error { return s.failed(s.header(&m, tar.TypeDir)) }
