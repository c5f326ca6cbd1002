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

// A relay passes a container's messages about its readiness to its NotifySocket, which is
// systemd's or an engine's (sd_notify(3)).
type relay struct {
	inner *net.UnixConn // the container sends to it
	outer *net.UnixConn // we send to it: the NotifySocket
	done  chan struct{} // closed when pass has ended
}

// newRelay opens both sockets. It returns nil if the container has no NotifySocket.
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

// listenNotify makes the container's socket, which every user in the container may use. It
// names the directory by its descriptor, since the path of a socket is limited to 107 bytes.
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

// maxNotice is how many bytes a message has at most, the same as for systemd.
const maxNotice = 4096

// drain gives pass some time for the last messages, and ends it.
func (r *relay) drain() {
	_ = r.inner.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	<-r.done
	r.close()
}

// pass relays until the relay is drained. It is for a supervisor: systemd takes that for
// the service, so the container must not name another process to watch.
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

// withoutPid removes the lines that name a process, which has another pid inside, and those
// about descriptors, which are not passed on.
func withoutPid(notice []byte) []byte {
	var lines [][]byte
	for line := range bytes.SplitSeq(notice, []byte("\n")) {
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("MAINPID=")) && !bytes.HasPrefix(line, []byte("FDSTORE")) {
			lines = append(lines, line)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

// awaitReady relays until the container is ready or has ended. When it is ready, the first
// process is named as the one to watch. It is for `start`, which does not stay.
func (r *relay) awaitReady(first process.ID) error {
	buffer := make([]byte, maxNotice)
	for {
		lives := first.Alive() // before reading, so that its last message is not missed
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

// barrierPatience is how long the other side gets to read its messages, the time that
// sd_notify_barrier(3) takes. systemd needs milliseconds.
const barrierPatience = 30 * time.Second

// barrier waits until everything that was sent is read (sd_notify_barrier(3)): systemd
// looks up the sender of a message, so we must not end before.
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

// send sends a message with a descriptor. Package net can do that only on sockets that are
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
