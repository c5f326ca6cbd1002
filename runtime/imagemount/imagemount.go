// Package imagemount makes mounts of images that are files (squashfs), as an ordinary user: it
// starts a program that serves the image's files by FUSE, or asks one that runs already. What the
// two say to each other is described in internal/image/serve.
//
// A mount comes as a descriptor, attached nowhere. The files can be read by way of it at once; the
// process that builds the container's root attaches it there.
package imagemount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/text"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// ErrNoServer says that nobody serves the image.
var ErrNoServer = errors.New("nobody serves the image")

// patience is how long a server may take for an answer.
const patience = 30 * time.Second

// A Server is how an image is served.
type Server struct {
	Program string   // the absolute path of ocishim-image
	Image   *os.File // the squashfs file
	Path    string   // its path, which names the mount
	// Socket is the path of the socket at which others ask for mounts; empty if there are none. Its
	// directory is the user's alone.
	Socket string

	// Tasks is how many will ask for mounts; 0 if that is not known.
	Tasks int
}

// Start starts the server, and returns a mount. The server ends by itself; see internal/image/serve.
func (s Server) Start() (*os.File, error) {
	mount, err := s.start()
	if err != nil {
		return nil, fmt.Errorf("serve image: %w", err)
	}
	return mount, nil
}

func (s Server) start() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := pair[0], os.NewFile(uintptr(pair[1]), "server")
	defer unix.Close(ours)
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{
		s.Program, "serve", "--image", "3", "--client", "4",
		"--uid", strconv.Itoa(os.Geteuid()), "--gid", strconv.Itoa(os.Getegid()),
	}
	cmd.Env = []string{inplace.ServeVariable + "=4:" + s.Program}
	cmd.ExtraFiles = []*os.File{s.Image, theirs}
	if s.Socket != "" {
		listener, err := s.listen()
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		cmd.Args = append(cmd.Args, "--listener", "5", "--tasks", strconv.Itoa(s.Tasks))
		cmd.ExtraFiles = append(cmd.ExtraFiles, listener)
	}
	if err := cmd.Run(); err != nil { // which is the server's parent, and has ended
		return nil, errors.Join(err, s.receiveError(ours))
	}
	theirs.Close()
	return s.receive(ours)
}

// receiveError is the reason that a server gave, if it gave one.
func (s Server) receiveError(socket int) error {
	mount, err := s.receive(socket)
	if mount != nil {
		mount.Close()
	}
	return err
}

// listen makes the socket. It replaces one that a killed server left.
func (s Server) listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	err = s.at(func(dir int, name string, address unix.Sockaddr) error {
		if err := unix.Unlinkat(dir, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return errors.Join(unix.Bind(fd, address), unix.Listen(fd, 1024))
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("make socket %s: %w", s.Socket, err)
	}
	return f, nil
}

// at calls f with the directory of the socket, its name there, and its address. An address has
// room for a path of 107 bytes only, so the directory is in it as a descriptor.
func (s Server) at(f func(dir int, name string, address unix.Sockaddr) error) error {
	dir, err := unix.Open(filepath.Dir(s.Socket), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	name := filepath.Base(s.Socket)
	return f(dir, name, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)})
}

// Ask returns a mount from the server at the socket, or ErrNoServer.
func (s Server) Ask() (*os.File, error) {
	fd, err := s.connect()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	mount, err := s.receive(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for a mount of the image: %w", err)
	}
	return mount, nil
}

// Answers reports whether a server listens at the socket.
func (s Server) Answers() bool {
	fd, err := s.connect()
	if err == nil {
		_ = unix.Close(fd)
	}
	return !errors.Is(err, ErrNoServer)
}

func (s Server) connect() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit), // also of connect
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
	)
	if err == nil {
		err = s.at(func(_ int, _ string, address unix.Sockaddr) error { return unix.Connect(fd, address) })
	}
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
		err = ErrNoServer
	}
	_ = unix.Close(fd)
	return -1, err
}

// receive reads a server's answer.
func (s Server) receive(socket int) (*os.File, error) {
	data, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	var n, m int
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, m, _, _, err = unix.Recvmsg(socket, data, rights, unix.MSG_CMSG_CLOEXEC)
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("its server does not answer within %v", patience)
	case errors.Is(err, unix.ECONNRESET), err == nil && n == 0 && m == 0:
		return nil, ErrNoServer // it has ended, with the last task that it knew
	case err != nil:
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New(text.Printable(string(data[:n])))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), s.Path), nil
}
