package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/containerd/console"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
)

// endOfTransmission is the character that ends a terminal's input (^D).
const endOfTransmission = 4

// A terminal connects the caller's files to the container's terminal, a new one in the
// container's own devpts, so that tty, /dev/tty and job control work inside.
type terminal struct {
	stdin, stdout *os.File
	outer         console.Console // the caller's terminal, nil if it has none
	master        console.Console
	socket        *os.File      // our end of the socket on which the master is received
	output        chan struct{} // closed when all output is copied
	reading       atomic.Bool   // copyOutput waits for output, and has none to write
	typed         chan unix.Signal
}

// typedNow is how many signals that are typed at once are kept.
const typedNow = 16

// newTerminal prepares the process to get a terminal, of the same size as the caller's.
func newTerminal(p *libcontainer.Process, stdin, stdout, stderr *os.File) (*terminal, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make console socket: %w", err)
	}
	t := &terminal{stdin: stdin, stdout: stdout, socket: os.NewFile(uintptr(fds[0]), "console"), output: make(chan struct{}), typed: make(chan unix.Signal, typedNow)}
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

// connect receives the master of the container's terminal and begins to copy.
func (t *terminal) connect() error {
	master, err := receiveFile(t.socket)
	if err != nil {
		return fmt.Errorf("receive terminal of container: %w", err)
	}
	if t.master, err = console.ConsoleFromFile(master); err != nil {
		return fmt.Errorf("use terminal of container: %w", err)
	}
	// An outer terminal converts newlines by itself, and a file or a pipe is to get plain
	// newlines, as with runc.
	if err := console.ClearONLCR(t.master.Fd()); err != nil {
		return fmt.Errorf("set terminal of container: %w", err)
	}
	if t.outer != nil {
		if err := t.outer.SetRaw(); err != nil {
			return fmt.Errorf("set terminal to raw: %w", err)
		}
	}
	go t.copyInput()
	go t.copyOutput()
	return nil
}

// copyInput copies our input to the terminal. At its end it sends ^D, and twice after an
// incomplete line: the first one only passes that line on (termios(3), VEOF).
func (t *terminal) copyInput() {
	last := lastByte{'\n'}
	if _, err := io.Copy(io.MultiWriter(t.master, &last, signalKeys{t}), t.stdin); err != nil {
		return
	}
	end := []byte{endOfTransmission}
	if last.is != '\n' {
		end = append(end, endOfTransmission)
	}
	_, _ = t.master.Write(end)
}

// signalKeys looks for the characters that make a terminal send signals to its foreground
// processes (termios(3), ISIG). As with any signal, the kernel drops these for the
// container's first process if that has no handler.
type signalKeys struct{ t *terminal }

func (k signalKeys) Write(p []byte) (int, error) {
	settings, err := unix.IoctlGetTermios(int(k.t.master.Fd()), unix.TCGETS)
	if err != nil || settings.Lflag&unix.ISIG == 0 {
		return len(p), nil
	}
	for _, key := range p {
		var sig unix.Signal
		switch key {
		case 0: // in the settings: this key is disabled
			continue
		case settings.Cc[unix.VINTR]:
			sig = unix.SIGINT
		case settings.Cc[unix.VQUIT]:
			sig = unix.SIGQUIT
		default:
			continue
		}
		select {
		case k.t.typed <- sig:
		default:
		}
	}
	return len(p), nil
}

// inForeground reports whether the process leads the terminal's foreground group.
func (t *terminal) inForeground(p process.ID) bool {
	group, err := unix.IoctlGetInt(int(t.master.Fd()), unix.TIOCGPGRP)
	return err == nil && group == p.Pid
}

// lastByte remembers the last byte written to it.
type lastByte struct{ is byte }

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.is = p[len(p)-1]
	}
	return len(p), nil
}

// copyOutput copies the container's output. It ends when nobody has the container's terminal
// open any more (EIO), or when the output cannot be written.
func (t *terminal) copyOutput() {
	defer close(t.output)
	buffer := make([]byte, 32<<10)
	for {
		t.reading.Store(true)
		n, err := t.master.Read(buffer)
		t.reading.Store(false)
		if n > 0 {
			if _, werr := t.stdout.Write(buffer[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// resize gives the container's terminal the size of the outer one. The kernel notifies the
// application.
func (t *terminal) resize() {
	if size, ok := t.size(); ok && t.master != nil {
		_ = t.master.Resize(size)
	}
}

// drain waits until all output is copied, however slow its reader is. It gives up if a
// process that outlived the container keeps the terminal open, but writes nothing for two
// seconds.
func (t *terminal) drain() {
	for quiet := 0; quiet < 20; quiet++ {
		select {
		case <-t.output:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if !t.reading.Load() {
			quiet = 0
		}
	}
}

// close restores the outer terminal's settings, and closes the container's terminal.
func (t *terminal) close() {
	if t.outer != nil {
		_ = t.outer.Reset()
	}
	if t.master != nil {
		_ = t.master.Close()
	}
	_ = t.socket.Close()
}

// receiveFile receives one descriptor from the socket (unix(7), SCM_RIGHTS).
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
		return nil, errors.New("no descriptor received")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), string(name[:n])), nil
}
