package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/console"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// endOfTransmission is what a terminal takes for the end of input (^D).
const endOfTransmission = 4

// A terminal joins the container's terminal, a new one of its own devpts, to
// the files that the caller has: that way tty, /dev/tty and job control work
// inside.
type terminal struct {
	stdin, stdout *os.File
	outer         console.Console // the caller's terminal, nil when it has none
	master        console.Console
	socket        *os.File // our end of the socket that brings the master
	output        chan struct{}
}

// newTerminal readies the process to have a terminal, of the size of the one
// that the caller has.
func newTerminal(p *libcontainer.Process, stdin, stdout, stderr *os.File) (*terminal, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make console socket: %w", err)
	}
	t := &terminal{stdin: stdin, stdout: stdout, socket: os.NewFile(uintptr(fds[0]), "console"), output: make(chan struct{})}
	p.ConsoleSocket = os.NewFile(uintptr(fds[1]), "console-container")
	for _, f := range []*os.File{stdin, stdout, stderr} {
		if c, err := console.ConsoleFromFile(f); err == nil {
			t.outer = c
			break
		}
	}
	if size, ok := t.size(); ok {
		p.ConsoleWidth, p.ConsoleHeight = size.Width, size.Height
	}
	return t, nil
}

func (t *terminal) size() (console.WinSize, bool) {
	if t.outer == nil {
		return console.WinSize{}, false
	}
	size, err := t.outer.Size()
	return size, err == nil && size.Width > 0 && size.Height > 0
}

// connect takes the master of the container's terminal and begins to copy.
func (t *terminal) connect() error {
	master, err := receiveFile(t.socket)
	if err != nil {
		return fmt.Errorf("receive terminal of container: %w", err)
	}
	if t.master, err = console.ConsoleFromFile(master); err != nil {
		return fmt.Errorf("use terminal of container: %w", err)
	}
	if t.outer != nil {
		// The outer terminal turns newlines into line ends by itself.
		if err := console.ClearONLCR(t.master.Fd()); err != nil {
			return fmt.Errorf("set terminal of container: %w", err)
		}
		if err := t.outer.SetRaw(); err != nil {
			return fmt.Errorf("set terminal to raw: %w", err)
		}
	}
	go t.copyInput()
	go t.copyOutput()
	return nil
}

// copyInput ends the application's input where ours ends.
func (t *terminal) copyInput() {
	_, err := io.Copy(t.master, t.stdin)
	if err == nil {
		_, _ = t.master.Write([]byte{endOfTransmission})
	}
}

// copyOutput ends with EIO, when nobody has the container's terminal open.
func (t *terminal) copyOutput() {
	_, _ = io.Copy(t.stdout, t.master)
	close(t.output)
}

// resize passes the outer terminal's size on; the kernel tells the application.
func (t *terminal) resize() {
	if size, ok := t.size(); ok && t.master != nil {
		_ = t.master.Resize(size)
	}
}

// drain waits until all output is copied. A process that has left the
// container's pid namespace out, and keeps the terminal, is not waited for.
func (t *terminal) drain() {
	select {
	case <-t.output:
	case <-time.After(2 * time.Second):
	}
}

// close gives the outer terminal its settings back.
func (t *terminal) close() {
	if t.outer != nil {
		_ = t.outer.Reset()
	}
	if t.master != nil {
		_ = t.master.Close()
	}
	_ = t.socket.Close()
}

// receiveFile reads one descriptor from the socket (unix(7), SCM_RIGHTS).
func receiveFile(socket *os.File) (*os.File, error) {
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(socket.Fd()), name, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), string(name[:n])), nil
}
