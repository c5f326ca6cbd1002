//go:build integration

package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// terminalScenarios: srun --pty with typed input.
var terminalScenarios = []scenario{
	{name: "--pty: tty and /dev/tty", short: true, run: atTerminal(ttyWorks)},
	{name: "--pty: size and resize", run: atTerminal(sizeArrives)},
	{name: "--pty: Ctrl-C", run: atTerminal(ctrlC)},
	{name: "--pty: Ctrl-Z and fg", run: atTerminal(ctrlZ)},
	{name: "salloc, interactive step", run: interactive},
}

// openTerminal makes a pseudo-terminal: the outer side, which shows and accepts text, and the
// program's side.
func openTerminal(rows, cols uint16) (outer, inner *os.File, err error) {
	outer, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var unlock uint32
	if err = ioctl(outer, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err != nil {
		return nil, nil, err
	}
	if err = resize(outer, rows, cols); err != nil {
		return nil, nil, err
	}
	inner, err = peer(outer)
	return outer, inner, err
}

// peer opens the program's side of a pseudo-terminal.
func peer(outer *os.File) (*os.File, error) {
	var number uint32
	if err := ioctl(outer, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		return nil, err
	}
	return os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
}

func resize(terminal *os.File, rows, cols uint16) error {
	size := [4]uint16{rows, cols}
	return ioctl(terminal, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}

func ioctl(file *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(arg)); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// terminal is a command at a pseudo-terminal of its own.
type terminal struct {
	*task
	s     *session
	outer *os.File
	read  int // what has been checked of the output
}

func (s *session) atTerminal(user string, rows, cols uint16, args ...string) *terminal {
	outer, inner, err := openTerminal(rows, cols)
	if err != nil {
		s.failf("test error", "pseudo-terminal: %v", err)
	}
	t := &task{args: args, shown: make(chan struct{}), done: make(chan struct{}), start: time.Now()}
	t.cmd = s.command(s.ctx, user, args...)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = inner, inner, inner
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	s.launch(t)
	inner.Close()
	go func() {
		defer close(t.shown)
		buffer := make([]byte, 4096)
		for {
			n, err := outer.Read(buffer)
			_, _ = t.stdout.Write(buffer[:n])
			if err != nil {
				return // the last program at the terminal has ended
			}
		}
	}()
	return &terminal{task: t, s: s, outer: outer}
}

func (t *terminal) send(keys string) {
	if _, err := t.outer.WriteString(keys); err != nil {
		t.s.failf("terminal gone", "%v", err)
	}
}

// taken waits until what was typed has been read.
func (t *terminal) taken() {
	inner, err := peer(t.outer)
	if err != nil {
		t.s.failf("test error", "pseudo-terminal: %v", err)
	}
	defer inner.Close()
	t.s.until("keys are not read", 6*time.Second, func() bool {
		var waiting int32
		return ioctl(inner, syscall.TIOCINQ, unsafe.Pointer(&waiting)) == nil && waiting == 0
	})
}

// line types a command.
func (t *terminal) line(command string) { t.send(command + "\r") }

// expect waits until the terminal shows text, after what was already expected. The terminal also
// shows what is typed, so expect a text that only the output has.
func (t *terminal) expect(few, text string) {
	t.s.until(few, 6*time.Second, func() bool {
		i := strings.Index(t.stdout.String()[t.read:], text)
		if i >= 0 {
			t.read += i + len(text)
		}
		return i >= 0
	})
}

func (t *terminal) shows(text string) bool { return strings.Contains(t.stdout.String()[t.read:], text) }

// atTerminal runs a check at a shell in a container and then leaves that shell.
func atTerminal(check func(*session, *terminal)) func(*session) {
	return func(s *session) {
		if s.mode == "create" {
			s.slurms("terminal")
			return
		}
		t := s.atTerminal("alice", 41, 123, "srun", "--pty", "--container", bundle("alice", "ro"), "bash", "--norc", "-i")
		defer t.outer.Close()
		t.line("echo up $((40+2))")
		t.expect("no shell", "up 42")
		check(s, t)
		t.line("exit 5")
		s.wantStatus(s.wait(t.task), 5)
	}
}

func ttyWorks(_ *session, t *terminal) {
	t.line(`echo "[$(tty)]"; [ -c "$(tty)" ] && echo exists $((1+1))`)
	t.expect("tty: not a tty", "[/dev/")
	t.expect("tty names no device", "exists 2")
	t.line("echo direct $((2+3)) >/dev/tty")
	t.expect("/dev/tty does not work", "direct 5")
	t.line("ps -o stat= -p $$; set -o | grep monitor; echo checked $((3+3))")
	t.expect("job control off", "checked 6")
	if t.shows("no job control") || strings.Contains(t.stdout.String(), "no job control") {
		t.s.failf("no job control", "bash says so")
	}
}

func sizeArrives(s *session, t *terminal) {
	t.line("echo size $(stty size)")
	t.expect("wrong size", "size 41 123")
	if err := resize(t.outer, 50, 100); err != nil {
		s.failf("test error", "%v", err)
	}
	t.line("for i in $(seq 50); do [ \"$(stty size)\" = '50 100' ] && break; sleep 0.1; done; echo now $(stty size)")
	t.expect("resize does not arrive", "now 50 100")
}

func ctrlC(s *session, t *terminal) {
	t.line("echo asleep $((1+1)); sleep 1000")
	t.expect("no output", "asleep 2")
	s.find("sleep 1000")
	t.send("\x03")
	t.line("echo status $?, shell alive $((3+4))")
	t.expect("Ctrl-C does not arrive", "status 130, shell alive 7")
}

func ctrlZ(s *session, t *terminal) {
	t.line("echo asleep $((1+1)); sleep 1000")
	t.expect("no output", "asleep 2")
	s.find("sleep 1000")
	t.send("\x1a")
	t.expect("Ctrl-Z does not arrive", "Stopped")
	t.line("echo shell alive $((3+4)); fg")
	t.expect("shell lost", "shell alive 7")
	t.expect("fg does not work", "sleep 1000")
	s.until("fg does not work", 6*time.Second, func() bool { return s.find("sleep 1000").state == "S" }) // in the foreground
	t.send("\x03")
	t.line("echo status $?, done $((4+4))")
	t.expect("fg does not work", "status 130, done 8")
}

// interactive: the shell of salloc itself runs in the container.
func interactive(s *session) {
	if s.mode == "create" {
		s.slurms("terminal")
		return
	}
	t := s.atTerminal("alice", 33, 77, "salloc", "--container", bundle("alice", "ro"))
	defer t.outer.Close()
	t.line("echo in $((40+2)) $(sed s/.*demo.*/container/ /etc/os-release) job=$SLURM_JOB_ID")
	t.expect("no shell", "in 42 container job="+s.job())
	t.line("echo size $(stty size)")
	t.expect("wrong size", "size 33 77")
	t.line("tty >/out/tty; exit 6")
	r := s.wait(t.task)
	if !strings.HasPrefix(s.out("tty"), "/dev/") {
		s.failf("tty: not a tty", "tty says %q", s.out("tty"))
	}
	s.wantStatus(r, 6)
}
