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

// notifyDir is the directory of an entry with the socket on which a container says that
// it is ready (sd_notify(3)). It is mounted at notifyTarget in the container, as with runc.
const (
	notifyDir    = "notify"
	notifyTarget = "/run/notify"
	notifyName   = "notify.sock"
)

// activationEdit returns what a systemd service gets: the descriptors that it listens on
// (sd_listen_fds(3)), and a socket on which it says that it is ready. LISTEN_PID is 1, as
// with runc.
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

// listenVariables returns the variables that give the process with the pid its number of
// descriptors.
func listenVariables(count, pid int) []string {
	return []string{"LISTEN_FDS=" + strconv.Itoa(count), "LISTEN_PID=" + strconv.Itoa(pid)}
}

// preserve passes n descriptors, from first on, to the container under the same numbers.
func preserve(p *libcontainer.Process, first, n int) error {
	for fd := first; fd < first+n; fd++ {
		// The caller's descriptors stay open across exec; all others are ours.
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

// pmiVariable names the descriptor of the connection to Slurm's PMI2 (mpi/pmi2/setup.c).
const pmiVariable = "PMI_FD="

// pmiDescriptor returns the descriptor that the variable names, if our caller passed it.
func pmiDescriptor(entry string) (fd int, ok bool) {
	text, found := strings.CutPrefix(entry, pmiVariable)
	if !found {
		return 0, false
	}
	fd, err := strconv.Atoi(text)
	return fd, err == nil && fd > 2 && passed(fd)
}

// pmiEdit keeps PMI2's descriptor open in the process, after the handed ones that it gets
// anyway. libcontainer renumbers what it passes on, so the variable gets the new number.
// The file is nil without such a descriptor.
func pmiEdit(env []string, handed int) (bundle.Edit, *os.File) {
	e := bundle.Edit{From: "PMI2", Rule: "its descriptor is renumbered"}
	for _, entry := range slices.Backward(env) {
		if fd, ok := pmiDescriptor(entry); ok {
			e.Env = []string{pmiVariable + strconv.Itoa(3+handed)}
			return e, os.NewFile(uintptr(fd), "PMI2")
		}
	}
	return e, nil
}

// connectPidfd connects to the socket to which libcontainer sends a pidfd of the process.
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

// connectConsole connects to the socket to which the process sends its terminal's master.
func connectConsole(p *libcontainer.Process, path string) (func(), error) {
	socket, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("connect console socket: %w", err)
	}
	p.ConsoleSocket = socket
	return func() { socket.Close() }, nil
}

// connect connects to a socket and returns it as a file, on which libcontainer can send
// descriptors.
func connect(path string) (*os.File, error) {
	conn, err := dialSocket(path, "unix")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.File()
}
