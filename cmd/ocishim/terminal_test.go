package main_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/ocishim/ocishim/internal/pace"
	"golang.org/x/sys/unix"
)

// A session is a program in a terminal that the test holds.
type session struct {
	t      *testing.T
	master console.Console
	cmd    *exec.Cmd

	mu     sync.Mutex
	screen bytes.Buffer
}

// openTerminal makes a terminal of 33 lines and 99 columns. It returns the master and the end that
// a program uses.
func openTerminal(t *testing.T) (console.Console, *os.File) {
	t.Helper()
	master, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := master.Resize(console.WinSize{Height: 33, Width: 99}); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	return master, end
}

// startInTerminal starts the command as a terminal emulator does.
func startInTerminal(t *testing.T, cmd *exec.Cmd) *session {
	t.Helper()
	master, end := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, end, end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	s := &session{t: t, master: master, cmd: cmd}
	go s.read()
	return s
}

func (s *session) read() {
	buf := make([]byte, 4096)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.screen.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send types the text, and clears the screen for what follows.
func (s *session) send(text string) {
	s.t.Helper()
	s.mu.Lock()
	s.screen.Reset()
	s.mu.Unlock()
	if _, err := s.master.Write([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until the text is on the screen.
func (s *session) expect(text string) {
	s.t.Helper()
	var screen string
	if !wait(15*time.Second, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		screen = s.screen.String()
		return strings.Contains(screen, text)
	}) {
		s.t.Fatalf("%q is not on the screen: %q", text, screen)
	}
}

// interrupt types Ctrl-C until the prompt is back: under load a shell has been seen to miss one
// that came just as it began a command.
func (s *session) interrupt() {
	s.t.Helper()
	for range 5 {
		s.send("\x03")
		if wait(3*time.Second, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return strings.Contains(s.screen.String(), "ready> ")
		}) {
			return
		}
	}
	s.t.Fatal("Ctrl-C does not end the command")
}

// wantStatus waits for the end of the program.
func (s *session) wantStatus(want int) {
	s.t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		if got := statusOf(err); got != want {
			s.t.Errorf("exit status %d, want %d; screen: %q", got, want, s.screen.String())
		}
	case <-pace.After(15 * time.Second):
		s.t.Fatalf("it does not end; screen: %q", s.screen.String())
	}
}

// terminalBundle makes a bundle with process.terminal, and a state root.
func terminalBundle(t *testing.T, command ...string) (dir, state string) {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	dir, state = t.TempDir(), filepath.Join(t.TempDir(), "state")
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args, spec.Process.Terminal = command, true
	mark := "TEST_OF_STATE=" + state
	spec.Process.Env = append(spec.Process.Env, mark, "PS1=ready> ")
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkNothingLeft(t, state, mark) })
	return dir, state
}

func uniqueID() string { return "test-" + strconv.Itoa(int(serial.Add(1))+1000*os.Getpid()) }

// An interactive shell works as without a container.
func TestInteractiveShell(t *testing.T) {
	t.Parallel()
	dir, state := terminalBundle(t, "bash", "--norc", "--noediting", "-i")
	s := startInTerminal(t, ocishim("--root", state, "run", "-b", dir, uniqueID()))
	s.expect("ready> ")
	s.send("tty\n")
	s.expect("/dev/pts/0\r\n")
	s.send("stty size\n")
	s.expect("33 99\r\n")
	s.send("echo line $((6*7)) of the terminal >/dev/tty\n")
	s.expect("line 42 of the terminal\r\n")

	t.Log("resize")
	if err := s.master.Resize(console.WinSize{Height: 11, Width: 22}); err != nil {
		t.Fatal(err)
	}
	if !wait(15*time.Second, func() bool {
		s.send("stty size\n")
		s.expect("ready> ")
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.screen.String(), "11 22")
	}) {
		t.Error("the new size does not reach the container")
	}

	t.Log("Ctrl-C")
	s.send("bash -c 'echo begin; exec sleep 600'\n")
	s.expect("begin\r\n")
	s.interrupt()
	s.send("echo status $?\n")
	s.expect("status 130\r\n")

	t.Log("Ctrl-Z")
	s.send("bash -c 'echo begin; exec sleep 600'\n")
	s.expect("begin\r\n")
	s.send("\x1a")
	s.expect("Stopped")
	s.send("kill %1; fg\n")
	s.expect("Terminated")
	s.send("exit 5\n")
	s.wantStatus(5)
}

// Meanwhile the caller's terminal is raw, and afterwards as before, even if the application was
// killed.
func TestTerminalIsRestored(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"exit 0", "kill -KILL $$; ulimit -s 256; f() { f; }; f"} {
		dir, state := terminalBundle(t, "bash", "-c", "echo begin; read line; "+command)
		s := startInTerminal(t, ocishim("--root", state, "run", "-b", dir, uniqueID()))
		fd := s.cmd.Stdin.(*os.File)
		before, err := unix.IoctlGetTermios(int(fd.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		s.expect("begin\r\n")
		during, err := unix.IoctlGetTermios(int(fd.Fd()), unix.TCGETS)
		if err != nil || during.Lflag&unix.ECHO != 0 {
			t.Errorf("the terminal is not raw: %+v, %v", during, err)
		}
		s.send("\n")
		_ = s.cmd.Wait()
		after, err := unix.IoctlGetTermios(int(fd.Fd()), unix.TCGETS)
		if err != nil || before.Lflag != after.Lflag || before.Iflag != after.Iflag || before.Oflag != after.Oflag {
			t.Errorf("%s: terminal before %+v, after %+v, %v", command, before, after, err)
		}
	}
}

// Without a terminal of ours, process.terminal still provides one inside.
func TestTerminalInside(t *testing.T) {
	t.Parallel()
	dir, state := terminalBundle(t, "sh", "-c", "tty; cat; exit 4")
	cmd := ocishim("--root", state, "run", "-b", dir, uniqueID())
	cmd.Stdin = strings.NewReader("one line\n")
	out, err := cmd.CombinedOutput()
	if statusOf(err) != 4 || !strings.Contains(string(out), "/dev/pts/0\n") || !strings.Contains(string(out), "one line\n") {
		t.Errorf("status %v, output %q", err, out)
	}
}

// An engine receives the terminal's master over the console socket (runc's terminals.md), and has
// it from create on.
func TestConsoleSocket(t *testing.T) {
	t.Parallel()
	dir, state := terminalBundle(t, "bash", "--norc", "--noediting", "-i")
	id := uniqueID()
	socket := filepath.Join(t.TempDir(), "console.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	received := make(chan *os.File, 1)
	go func() { received <- receiveMaster(t, listener.(*net.UnixListener)) }()
	run := func(args ...string) {
		t.Helper()
		if out, err := ocishim(append([]string{"--root", state}, args...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	run("create", "--bundle", dir, "--console-socket", socket, "--pid-file", filepath.Join(dir, "pid"), id)
	master, err := console.ConsoleFromFile(<-received)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	if err := master.Resize(console.WinSize{Height: 12, Width: 34}); err != nil {
		t.Error(err)
	}
	s := &session{t: t, master: master}
	go s.read()
	run("start", id)
	s.expect("ready> ")
	s.send("tty; stty size\n")
	s.expect("/dev/pts/0\r\n12 34\r\n")
	s.send("bash -c 'echo begin; exec sleep 600'\n")
	s.expect("begin\r\n")
	s.interrupt()
	run("delete", "--force", id)
}

// receiveMaster accepts one connection, and receives one descriptor over it.
func receiveMaster(t *testing.T, listener *net.UnixListener) *os.File {
	if err := listener.SetDeadline(pace.Deadline(15 * time.Second)); err != nil {
		t.Error(err)
	}
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Error(err)
		return nil
	}
	defer func() { _ = conn.Close() }()
	return receiveFile(t, conn)
}

// receiveFile receives a descriptor over the connection, and names it after the text that comes
// with it.
func receiveFile(t *testing.T, conn *net.UnixConn) *os.File {
	data, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		t.Error(err)
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Errorf("%d messages, %v", len(messages), err)
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Errorf("%d descriptors, %v", len(fds), err)
		return nil
	}
	return os.NewFile(uintptr(fds[0]), string(data[:n]))
}
