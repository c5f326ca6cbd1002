package main_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A seccomp filter with a listener sends its descriptor to a socket, with the state of the process
// (config-linux.md, Seccomp): for the container's first process, and for one that exec adds. Here
// every mkdir(2) gets an error that no file system returns.
func TestSeccompListener(t *testing.T) {
	t.Parallel()
	dir, state, id := t.TempDir(), filepath.Join(t.TempDir(), "state"), uniqueID()
	socket := listenSeccomp(t)
	askingBundle(t, dir, state, socket)
	t.Cleanup(func() { _ = ocishim("--root", state, "delete", "--force", id).Run() })
	asking := make(chan *specs.ContainerProcessState, 2)
	go func() {
		for range cap(asking) {
			asking <- answer(t, socket)
		}
	}()

	// The container keeps its output open: a file, not a pipe of the test.
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	create := ocishim("--root", state, "create", "-b", dir, "--pid-file", filepath.Join(dir, "pid"), id)
	create.Stdout, create.Stderr = said, said
	if err := create.Run(); err != nil {
		t.Fatalf("%v: %s", err, readLine(t, said.Name()))
	}
	if out, err := ocishim("--root", state, "start", id).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	first := <-asking
	checkAsking(t, first, id)
	if pid := readLine(t, filepath.Join(dir, "pid")); strconv.Itoa(first.Pid) != pid || first.State.Pid != first.Pid {
		t.Errorf("asked by %d of a container whose first process is %d, not %s", first.Pid, first.State.Pid, pid)
	}
	if !wait(15*time.Second, func() bool { return strings.Contains(readLine(t, said.Name()), refusal) }) {
		t.Errorf("the first process says %q", readLine(t, said.Name()))
	}

	out, err := ocishim("--root", state, "exec", id, "mkdir", "/dev/shm/added").CombinedOutput()
	if os.Getuid() != 0 {
		// Only root may fetch the descriptor from a process that has entered a user namespace, and
		// nothing runs without its filter. As with runc.
		if statusOf(err) != 125 || !strings.Contains(string(out), "pidfd_getfd: operation not permitted") {
			t.Errorf("exec: %v: %s", err, out)
		}
		_ = socket.Close()
		return
	}
	if statusOf(err) != 1 || !strings.Contains(string(out), refusal) {
		t.Errorf("exec: %v: %s", err, out)
	}
	added := <-asking
	checkAsking(t, added, id)
	if added.Pid == first.Pid || added.State.Pid != first.Pid {
		t.Errorf("asked by %d of a container whose first process is %d, not %d", added.Pid, added.State.Pid, first.Pid)
	}
}

// refusal is the message of mkdir(1) for ENOTUNIQ.
const refusal = "Name not unique on network"

// askingBundle makes a bundle whose filter notifies the socket.
func askingBundle(t *testing.T, dir, state string, socket *net.UnixListener) {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	mark := "OCISHIM_TEST=" + state
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args = []string{"sh", "-c", "mkdir /dev/shm/first; exec sleep 600"}
	spec.Process.Env = append(spec.Process.Env, mark)
	spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: socket.Addr().String(), ListenerMetadata: "of the test",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}},
	}
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
}

// checkAsking checks what is the same for each process of the container.
func checkAsking(t *testing.T, got *specs.ContainerProcessState, id string) {
	t.Helper()
	if got == nil {
		t.Fatal("nobody asked")
	}
	if got.State.ID != id || got.Metadata != "of the test" || !slices.Equal(got.Fds, []string{specs.SeccompFdName}) {
		t.Errorf("asked by %+v", got)
	}
}

func listenSeccomp(t *testing.T) *net.UnixListener {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "seccomp.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	if err := listener.(*net.UnixListener).SetDeadline(pace.Deadline(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return listener.(*net.UnixListener)
}

// answer takes one descriptor, refuses every request on it, and returns the state that came with
// it; nil if nothing comes.
func answer(t *testing.T, listener *net.UnixListener) *specs.ContainerProcessState {
	conn, err := listener.AcceptUnix()
	if err != nil {
		return nil // the test has ended
	}
	defer func() { _ = conn.Close() }()
	file := receiveFile(t, conn)
	if file == nil {
		return nil
	}
	asking := new(specs.ContainerProcessState)
	if err := json.Unmarshal([]byte(file.Name()), asking); err != nil {
		t.Errorf("%v: %q", err, file.Name())
	}
	go refuse(file)
	return asking
}

// notification and response are struct seccomp_notif and seccomp_notif_resp (linux/seccomp.h).
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	pointer    uint64
	arguments  [6]uint64
}

type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// refuse answers until all processes with the filter are gone.
func refuse(file *os.File) {
	defer file.Close()
	for {
		var asked notification
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return
		}
		refused := response{id: asked.id, errno: -int32(unix.ENOTUNIQ)}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, file.Fd(), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&refused)))
	}
}
