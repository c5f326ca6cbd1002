package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
)

// A relay passes what a container says of its readiness on to whoever started
// it, systemd or an engine (sd_notify(3)).
type relay struct {
	inner *net.UnixConn // the container's
	outer *net.UnixConn // of whoever started us
	done  chan struct{} // closed when pass has ended
}

// newRelay opens both sockets; it is nil when nobody wants to know.
func (c *Container) newRelay() (*relay, error) {
	if c.NotifySocket == "" {
		return nil, nil
	}
	outer, err := dialSocket(c.NotifySocket, "unixgram")
	if err != nil {
		return nil, fmt.Errorf("connect notify socket: %w", err)
	}
	inner, err := listenNotify(c.entry.File(notifyDir))
	if err != nil {
		_ = outer.Close()
		return nil, fmt.Errorf("make notify socket: %w", err)
	}
	return &relay{inner, outer, make(chan struct{})}, nil
}

// listenNotify makes the container's socket, for every user in there. The path
// is that of the directory's descriptor, since a socket's may have 107 bytes only.
func listenNotify(dir string) (*net.UnixConn, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	path := fmt.Sprintf("/proc/self/fd/%d/%s", fd, notifyName)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (r *relay) close() {
	_ = r.inner.Close()
	_ = r.outer.Close()
}

// maxNotice bounds a message, in bytes; systemd's own bound.
const maxNotice = 4096

// drain lets pass relay the last words, and ends it.
func (r *relay) drain() {
	_ = r.inner.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	<-r.done
	r.close()
}

// pass relays until the relay is drained: for a supervisor, which whoever started
// it takes for the service. Which process to watch is not the container's to say.
func (r *relay) pass() {
	defer close(r.done)
	buffer := make([]byte, maxNotice)
	for {
		n, err := r.inner.Read(buffer)
		if err != nil {
			return
		}
		if notice := withoutPid(buffer[:n]); len(notice) > 0 {
			_, _ = r.outer.Write(notice)
		}
	}
}

// withoutPid takes out the lines that name a process: inside it has another
// number.
func withoutPid(notice []byte) []byte {
	var lines [][]byte
	for line := range bytes.SplitSeq(notice, []byte("\n")) {
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("MAINPID=")) && !bytes.HasPrefix(line, []byte("FDSTORE")) {
			lines = append(lines, line)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

// awaitReady relays until the container is ready or has ended, and then names its
// first process as the one to watch: for a start that does not stay.
func (r *relay) awaitReady(first process.ID) error {
	buffer := make([]byte, maxNotice)
	for {
		lives := first.Alive() // before the look for its last words
		_ = r.inner.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := r.inner.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if !lives {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read notify socket: %w", err)
		}
		notice := withoutPid(buffer[:n])
		if !bytes.Contains(append([]byte("\n"), notice...), []byte("\nREADY=1")) {
			_, _ = r.outer.Write(notice)
			continue
		}
		notice = fmt.Appendf(notice, "\nMAINPID=%s", strconv.Itoa(first.Pid))
		if _, err := r.outer.Write(notice); err != nil {
			return fmt.Errorf("write notify socket: %w", err)
		}
		return r.barrier()
	}
}

// barrierPatience is how long the other side gets to read what it was sent:
// sd_notify_barrier(3) wants a time, and systemd takes milliseconds.
const barrierPatience = 30 * time.Second

// barrier waits until everything sent was read (sd_notify_barrier(3)): systemd
// looks up the sender of a message, who must not be gone by then.
func (r *relay) barrier() error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("wait for reader of notify socket: %w", err)
	}
	defer ours.Close()
	err = r.send([]byte("BARRIER=1"), theirs)
	theirs.Close()
	if err != nil {
		return fmt.Errorf("wait for reader of notify socket: %w", err)
	}
	_ = ours.SetReadDeadline(time.Now().Add(barrierPatience))
	if _, err := ours.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for reader of notify socket: %w", err)
	}
	return nil
}

// send sends a descriptor along; package net does that on sockets only that are
// not connected.
func (r *relay) send(notice []byte, f *os.File) error {
	raw, err := r.outer.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.Sendmsg(int(fd), notice, unix.UnixRights(int(f.Fd())), nil, 0)
	})
	return errors.Join(cerr, err)
}
