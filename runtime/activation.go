package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// notifyDir is the part of an entry that holds the socket on which a container
// says that it is ready (sd_notify(3)); notifyTarget is its place inside, runc's.
const (
	notifyDir    = "notify"
	notifyTarget = "/run/notify"
	notifyName   = "notify.sock"
)

// activationEdit is what a service of systemd is given: the descriptors on which
// it was asked for (sd_listen_fds(3)), and a place to say that it is ready. The
// service believes to be process 1, as runc has it.
func activationEdit(dir string, o LaunchOptions) (bundle.Edit, error) {
	e := bundle.Edit{From: "systemd"}
	if o.ListenFDs > 0 {
		e.Env = listenVariables(o.ListenFDs, 1)
	}
	if o.NotifySocket == "" {
		return e, nil
	}
	source := filepath.Join(dir, notifyDir)
	if err := os.Mkdir(source, 0o755); err != nil {
		return e, fmt.Errorf("make notify socket: %w", err)
	}
	e.Env = append(e.Env, "NOTIFY_SOCKET="+filepath.Join(notifyTarget, notifyName))
	e.Mounts = []specs.Mount{bundle.Bind(source, notifyTarget, "bind", "nosuid", "noexec", "nodev", "ro")}
	return e, nil
}

// listenVariables tell the process with the pid how many descriptors are for it.
func listenVariables(count, pid int) []string {
	return []string{"LISTEN_FDS=" + strconv.Itoa(count), "LISTEN_PID=" + strconv.Itoa(pid)}
}

// preserve hands the n descriptors from first on to the container, at the same
// numbers.
func preserve(p *libcontainer.Process, first, n int) error {
	for fd := first; fd < first+n; fd++ {
		// What the caller passes is open across exec; all else is ours.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err != nil {
			return fmt.Errorf("preserve %d descriptors from %d on: descriptor %d: %w", n, first, fd, err)
		}
		p.ExtraFiles = append(p.ExtraFiles, os.NewFile(uintptr(fd), "preserved:"+strconv.Itoa(fd)))
	}
	return nil
}

// pmiVariable says which descriptor Slurm's PMI2 is reached by (mpi/pmi2/setup.c).
const pmiVariable = "PMI_FD="

// pmiDescriptor is the one that an entry of an environment names and our caller has
// passed.
func pmiDescriptor(entry string) (fd int, ok bool) {
	text, found := strings.CutPrefix(entry, pmiVariable)
	if !found {
		return 0, false
	}
	fd, err := strconv.Atoi(text)
	return fd, err == nil && fd > 2 && passed(fd)
}

// pmiEdit makes the process keep PMI2's descriptor, after those that it is handed anyway.
// libcontainer numbers what it passes on, so the process is told another number. The file is nil
// where there is no such descriptor.
func pmiEdit(env []string, handed int) (bundle.Edit, *os.File) {
	e := bundle.Edit{From: "PMI2", Rule: "its descriptor gets another number"}
	for _, entry := range slices.Backward(env) {
		if fd, ok := pmiDescriptor(entry); ok {
			e.Env = []string{pmiVariable + strconv.Itoa(3+handed)}
			return e, os.NewFile(uintptr(fd), "PMI2")
		}
	}
	return e, nil
}

// connectPidfd connects to the socket over which libcontainer sends a pidfd of
// the process.
func connectPidfd(p *libcontainer.Process, path string) (func(), error) {
	if path == "" {
		return func() {}, nil
	}
	socket, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("connect pidfd socket: %w", err)
	}
	p.PidfdSocket = socket
	return func() { socket.Close() }, nil
}

// connectConsole connects to the socket over which the process sends its
// terminal's master.
func connectConsole(p *libcontainer.Process, path string) (func(), error) {
	socket, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("connect console socket: %w", err)
	}
	p.ConsoleSocket = socket
	return func() { socket.Close() }, nil
}

// connect opens the far end of a socket as a file that libcontainer can send
// descriptors on.
func connect(path string) (*os.File, error) {
	conn, err := dialSocket(path, "unix")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.File()
}
