// Package serve shows a squashfs image as a FUSE file system to the tasks of a step on one
// host, for as long as any of them has it mounted.
//
// # What the launcher does
//
// Linux requires that /dev/fuse is opened in the user namespace that mounts. So the launcher
// enters the user namespace, opens /dev/fuse and starts the server before it enters the mount
// namespace: a server inside the mount namespace would keep it alive. Then the launcher
// mounts, in the new mount namespace:
//
//	mount("image", DIR, "fuse.squashfs", MS_RDONLY|MS_NOSUID|MS_NODEV,
//	      "fd=N,rootmode=40000,user_id=UID,group_id=GID,default_permissions")
//
// UID and GID are the launcher's ids inside its user namespace. default_permissions makes
// the kernel check mode and owner, without asking the server. With these options only
// processes whose real, effective and saved ids are all UID and GID may read, in whichever
// user namespace they are; nobody else may, not even the host's root. That is right for a
// user namespace with one user and one group. For one with more, add allow_other: then
// every process in that user namespace or in one below it may read, and no process in any
// other, so the tasks have to share the user namespace. Do not set max_read: the kernel's
// own limit is the best.
//
// The server works for all tasks of the step, and inherits the launcher's attributes. So the
// launcher should start it with the processors of the step, not with those that its own task
// is bound to, and with a timer slack of a millisecond (PR_SET_TIMERSLACK): without that,
// Go's runtime wakes up every 20 µs while requests arrive.
//
// The launcher holds one end of a pair of stream sockets, created with close-on-exec, and the
// server the other. After mounting, the launcher writes one byte. Then it reads to the end of
// the stream: "ok\n" when the server is answering, otherwise a line with the reason why it is
// not. If the launcher's end closes before that byte, the launcher is gone and the server
// exits. After mounting, the launcher closes its own descriptor of /dev/fuse: if a task held
// it and the server were killed, readers would wait for ever instead of getting ENOTCONN.
//
// # How the server ends
//
// The server exits when the last mount of the file system is gone. It needs no cleanup and
// leaves nothing behind.
package serve

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/squashfs"
	"github.com/ocishim/ocishim/internal/text"
)

// Options are the options of a server. The zero value is usual.
type Options struct {
	// UID and GID own all files. They are the ids of the task's user in the user namespace of
	// the mount, so that the user can read files that only their owner may read.
	UID, GID uint32

	// Memory bounds the server's caches, in bytes; 0 means DefaultMemory.
	Memory int64

	// Ignore are signals that do not end the server, such as those that warn a job of its end.
	Ignore []os.Signal
}

// DefaultMemory is enough for 64 readers at different places of a file.
const DefaultMemory = 96 << 20

// One part in metadataShare of the memory is for metadata: 42,000 files have about 4 MB of it.
// overhead is the memory beside the caches: buffers and what Go needs.
const (
	metadataShare = 6
	leastMemory   = 12 << 20
	overhead      = 96 << 20
)

// request is the greatest size of a read. The kernel may have a lower limit: 256 pages before
// Linux 6.13.
const request = 1 << 20

// Run serves the image to the mount of device until the mount is gone. It closes the three files.
// Run needs a process of its own: it calls Detach and limits the memory of the process. It also
// returns nil if the launcher exits before it mounts.
func Run(device, image, launcher *os.File, o Options) error {
	defer device.Close()
	defer image.Close()
	defer launcher.Close()
	if err := Detach(device, image, launcher); err != nil {
		return tell(launcher, err)
	}
	if len(o.Ignore) > 0 {
		signal.Ignore(o.Ignore...)
	}
	fs, err := open(image, o)
	if err != nil {
		return tell(launcher, fmt.Errorf("open image: %w", err))
	}
	if _, err := io.ReadFull(launcher, make([]byte, 1)); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		return fmt.Errorf("wait for the mount: %w", err)
	}
	server, err := newServer(device, fs)
	if err != nil {
		return tell(launcher, err)
	}
	if server == nil {
		return nil
	}
	device.Close()
	// Serve even if the launcher does not wait for the answer.
	_, _ = launcher.Write([]byte(answer))
	launcher.Close()
	server.Serve()
	return nil
}

// answer is what the launcher reads when the server is ready.
const answer = "ok\n"

// tell sends the launcher the reason of a failure, and returns the error.
func tell(launcher *os.File, err error) error {
	// The launcher may be gone; the caller also gets the error.
	_, _ = launcher.WriteString(text.Printable(err.Error()) + "\n")
	return err
}

// open opens the image, and sets the limits of memory.
func open(image *os.File, o Options) (*fileSystem, error) {
	memory := o.Memory
	if memory == 0 {
		memory = DefaultMemory
	}
	memory = max(memory, leastMemory)
	debug.SetMemoryLimit(memory + overhead)
	info, err := image.Stat()
	if err != nil {
		return nil, err
	}
	limits := squashfs.Limits{Metadata: memory / metadataShare, Data: memory - memory/metadataShare}
	im, err := squashfs.Open(image, info.Size(), limits)
	if err != nil {
		return nil, err
	}
	return newFileSystem(im, o.UID, o.GID), nil
}

// newServer answers the kernel's first request. It returns nil if the mount is already gone.
func newServer(device *os.File, fs *fileSystem) (*fuse.Server, error) {
	// The server needs a descriptor of its own, in blocking mode: it takes EAGAIN for a failure.
	fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor of FUSE: %w", err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, fmt.Errorf("prepare descriptor of FUSE: %w", err)
	}
	server, err := fuse.NewServer(fs, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		Name:                     "squashfs",
		MaxWrite:                 request,
		MaxReadAhead:             request,
		MaxBackground:            64,
		DisableXAttrs:            true,
		DisableSplice:            true,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		ExtraCapabilities:        fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_ASYNC_DIO,
		// Passthrough would count as one more layer if the mount is used below an overlay.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		Logger:               log.New(io.Discard, "", 0),
		PanicHandler:         func(any) fuse.Status { return fuse.EIO },
	})
	if err != nil {
		if gone(device) {
			return nil, nil
		}
		return nil, fmt.Errorf("start to serve: %w", err)
	}
	return server, nil
}

// gone reports whether the device's mount has ended. It is also true for a device that was
// never mounted.
func gone(device *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(device.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, int(time.Second/time.Millisecond))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && fds[0].Revents&unix.POLLERR != 0
		}
	}
}
