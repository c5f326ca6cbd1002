// Package serve shows a squashfs image as a FUSE file system to the tasks of a step on one
// host, for as long as any of them has it mounted.
//
// # What the launcher does
//
// The launcher starts the server in a user namespace of its own, in which the server has
// CAP_SYS_ADMIN and the caller's ids have their own numbers. It gives the server the image, its
// end of a pair of sockets (SOCK_SEQPACKET) and, if several tasks shall have the image, a socket
// that listens. Then it waits for a message: "ok" with a descriptor of a mount that is attached
// nowhere (move_mount(2)), or a line with a reason. Every connection to the
// listening socket gets another such message; nothing is sent to the server.
//
// The descriptor shows the files of the image at once, wherever its holder is, to
// processes whose real, effective and saved ids are all those of the user; to nobody else, not
// even to the host's root (fuse(4), without allow_other). Attached in a mount namespace, it
// stays there when the descriptor is closed. Linux cannot copy a mount that is attached nowhere
// (before 6.15), so each task asks for its own.
//
// The server works for all tasks of the step, and inherits the launcher's attributes. So the
// launcher should start it with the processors of the step, not with those that its own task is
// bound to, and with a timer slack of a millisecond (PR_SET_TIMERSLACK): without that, Go's
// runtime wakes up every 20 µs while requests arrive.
//
// # How the server ends
//
// The server keeps a mount to copy from until all processes that asked for one have ended, or all
// tasks (Options.Tasks) have asked. It exits when the last mount of the file system is gone. It needs no cleanup and leaves nothing
// behind but the name of the listening socket.
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

// Options are what a server works with. Image and Client are necessary.
type Options struct {
	// Image is the squashfs file. Client is the launcher's socket, Listener takes further
	// clients; without it only the launcher gets a mount. Run closes the three.
	Image, Client, Listener *os.File

	// UID and GID own all files. They are the ids of the task's user in the user namespace of
	// the mount, so that the user can read files that only their owner may read.
	UID, GID uint32

	// Tasks is how many clients there will be; 0 if that is not known. When all have their mounts,
	// the file system ends with the last of them, before its parent hears of the end: Slurm waits
	// for a second if it finds a process then.
	Tasks int

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

// Run serves the image until its last mount is gone. It needs a process of its own: it calls
// Detach and limits the memory of the process. It also returns nil if all clients exit before
// they have a mount.
func Run(o Options) error {
	defer o.Image.Close()
	defer o.Client.Close()
	if o.Listener != nil {
		defer o.Listener.Close()
	}
	server, err := begin(o)
	if err != nil {
		// The client may be gone; the caller also gets the error.
		_, _ = o.Client.WriteString(text.Printable(err.Error()))
		return err
	}
	o.Client.Close()
	if server != nil {
		server.Serve()
	}
	return nil
}

// begin mounts the image, and gives the mounts to those who ask for them. It returns nil if the
// mount is gone already.
func begin(o Options) (*fuse.Server, error) {
	keep := []*os.File{o.Image, o.Client}
	if o.Listener != nil {
		keep = append(keep, o.Listener)
	}
	if err := Detach(keep...); err != nil {
		return nil, err
	}
	if len(o.Ignore) > 0 {
		signal.Ignore(o.Ignore...)
	}
	fs, err := open(o.Image, o)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer device.Close()
	m, err := mountDevice(device, o)
	if err != nil {
		return nil, err
	}
	server, err := newServer(device, fs)
	if err != nil || server == nil {
		m.release()
		return nil, err
	}
	return server, giveMounts(m, o)
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
