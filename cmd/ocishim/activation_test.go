package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// sayingBundle runs testdata/says with a text to send.
func sayingBundle(t *testing.T, text string) string {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args = []string{"/run/says", text}
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/run/says", Type: "bind", Source: shared.says(), Options: []string{"bind"}})
	dir := t.TempDir()
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listener stands for the socket of systemd, or of an engine.
func listener(t *testing.T) (path string, next func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "n") // socket paths must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return path, func() string {
		t.Helper()
		data, rights := make([]byte, 4096), make([]byte, 256)
		_ = conn.SetReadDeadline(pace.Deadline(15 * time.Second))
		n, rn, _, _, err := conn.ReadMsgUnix(data, rights)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range descriptors(t, rights[:rn]) {
			_ = syscall.Close(fd)
		}
		return string(data[:n])
	}
}

func descriptors(t *testing.T, rights []byte) []int {
	t.Helper()
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fds...)
	}
	return all
}

// run passes on what the container reports, except for the pid, which means nothing outside.
func TestNotifyRun(t *testing.T) {
	t.Parallel()
	state, id := filepath.Join(t.TempDir(), "state"), uniqueID()
	path, next := listener(t)
	cmd := ocishim("--root", state, "run", "-b", sayingBundle(t, "STATUS=up\nMAINPID=1\nREADY=1"), id)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "STATUS=up\nREADY=1" {
		t.Errorf("run passed on %q", got)
	}
	if out, err := ocishim("--root", state, "kill", id, "KILL").CombinedOutput(); err != nil {
		t.Errorf("kill: %v: %s", err, out)
	}
	_ = cmd.Wait()
	if left := namesIn(state); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// start returns when the container is ready, and reports the container's pid.
func TestNotifyStart(t *testing.T) {
	t.Parallel()
	state, id := filepath.Join(t.TempDir(), "state"), uniqueID()
	path, next := listener(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	create := ocishim("--root", state, "create", "-b", sayingBundle(t, "READY=1"), "--pid-file", pidFile, id)
	create.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if err := create.Run(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if out, err := ocishim("--root", state, "delete", "--force", id).CombinedOutput(); err != nil {
			t.Errorf("delete: %v: %s", err, out)
		}
	}()
	start := ocishim("--root", state, "start", id)
	start.Env, start.Stderr = []string{}, os.Stderr // what create knew is enough
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := next(), "READY=1\nMAINPID="+string(pid); got != want {
		t.Errorf("start said %q, want %q", got, want)
	}
	if got := next(); got != "BARRIER=1" {
		t.Errorf("start said %q at last", got)
	}
	if err := start.Wait(); err != nil {
		t.Error(err)
	}
}

// start does not wait for a container that ends without reporting.
func TestNotifyNothing(t *testing.T) {
	t.Parallel()
	state, id := filepath.Join(t.TempDir(), "state"), uniqueID()
	path, _ := listener(t)
	create := ocishim("--root", state, "create", "-b", trueBundle(t), id)
	create.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if err := create.Run(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"start", id}, {"delete", "--force", id}} {
		if out, err := ocishim(append([]string{"--root", state}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
}

// --pidfd-socket sends a pidfd of the container's process itself.
func TestPidfdSocket(t *testing.T) {
	t.Parallel()
	state, id := filepath.Join(t.TempDir(), "state"), uniqueID()
	dir, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	server, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := ocishim("--root", state, "create", "-b", trueBundle(t), "--pidfd-socket", path, id).Run(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ocishim("--root", state, "delete", "--force", id).Run() }()
	conn, err := server.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	rights := make([]byte, 256)
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 256), rights)
	if err != nil {
		t.Fatal(err)
	}
	fds := descriptors(t, rights[:n])
	if len(fds) != 1 {
		t.Fatalf("got descriptors %v", fds)
	}
	defer func() { _ = syscall.Close(fds[0]) }()
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	out, err := ocishim("--root", state, "state", id).Output()
	if err != nil {
		t.Fatal(err)
	}
	object, err := oneObject(string(out))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nPid:\t" + valueAt(object, "pid") + "\n"; !strings.Contains(string(info), want) {
		t.Errorf("the descriptor's info %q lacks %q", info, want)
	}
}
