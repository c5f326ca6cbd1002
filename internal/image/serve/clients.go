package serve

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// answer is what a client reads beside the descriptor of its mount.
const answer = "ok"

// giveMounts gives the launcher its mount and, in the background, one to each process that
// connects, until all that have got one have ended.
func giveMounts(m *mounts, o Options) error {
	members := &members{mounts: m, tasks: o.Tasks, atEnd: func() {}}
	if o.Listener != nil {
		listener, err := unix.FcntlInt(o.Listener.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		o.Listener.Close()
		members.atEnd = func() { _ = unix.Shutdown(listener, unix.SHUT_RD) } // which ends accept
		defer func() { go members.accept(listener) }()
	}
	return members.admit(int(o.Client.Fd()))
}

// members are the processes that have got a mount and live.
type members struct {
	mounts *mounts
	atEnd  func()

	tasks int // that will ask; 0 if that is not known

	mu              sync.Mutex
	admitted, alive int
	ended           bool
}

// accept admits everybody who connects. The socket is where only its user can reach it.
func (m *members) accept(listener int) {
	defer unix.Close(listener)
	for {
		conn, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINVAL): // shut down
			return
		case err != nil: // of this connection, or a lack of descriptors that may pass
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = m.admit(conn) // the client finds out by the end of the connection
		_ = unix.Close(conn)
	}
}

// admit gives a mount to the process at the other end, if it is the same user's, and counts it as
// a member for as long as it lives.
func (m *members) admit(conn int) error {
	peer, err := peerOf(conn)
	if err != nil {
		return fmt.Errorf("find out who asks: %w", err)
	}
	mount, err := m.mounts.next()
	if err != nil {
		return errors.Join(err, peer.Close())
	}
	defer mount.Close()
	m.mu.Lock()
	m.alive++
	if m.admitted++; m.admitted == m.tasks {
		m.end()
	}
	m.mu.Unlock()
	go func() {
		waitForEnd(peer)
		m.leave()
	}()
	return unix.Sendmsg(conn, []byte(answer), unix.UnixRights(int(mount.Fd())), nil, unix.MSG_NOSIGNAL)
}

func (m *members) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alive--; m.alive == 0 {
		m.end()
	}
}

// end admits nobody any more. One that was admitted at the last moment leaves after the end.
func (m *members) end() {
	if !m.ended {
		m.ended = true
		m.mounts.release()
		m.atEnd()
	}
}

// peerOf returns a descriptor of the process that made the other end of the connection
// (pidfd_open(2)).
func peerOf(conn int) (*os.File, error) {
	peer, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, err
	}
	if int(peer.Uid) != os.Getuid() {
		return nil, unix.EPERM
	}
	fd, err := unix.PidfdOpen(int(peer.Pid), 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that Go waits without a thread
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", peer.Pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// waitForEnd returns when the process has ended, and closes its descriptor.
func waitForEnd(process *os.File) {
	defer process.Close()
	raw, err := process.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
}
