//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// screen is a script of an engine at a pseudo-terminal of its own, to type at.
type screen struct {
	t     *testing.T
	cmd   *exec.Cmd
	outer *os.File
	shown lockedBuffer
	read  int // what has been checked of it
}

// atTerminal starts the script; ctx ends it.
func (e *engine) atTerminal(ctx context.Context, t *testing.T, name, script string) *screen {
	t.Helper()
	outer, inner, err := openTerminal(41, 123)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, cmd: e.command(ctx, script, []string{"C=" + name, "TERM=xterm"}), outer: outer}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = inner, inner, inner
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	err = s.cmd.Start()
	inner.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := outer.Read(buffer)
			_, _ = s.shown.Write(buffer[:n])
			if err != nil {
				return // the last program at the terminal has ended
			}
		}
	}()
	return s
}

func (s *screen) send(keys string) {
	if _, err := s.outer.WriteString(keys); err != nil {
		s.t.Errorf("terminal is gone: %v", err)
	}
}

// line types a command and waits for a text that only its output shows, not the command itself.
func (s *screen) line(command, shows string) {
	s.t.Helper()
	s.send(command + "\r")
	s.expect(shows)
}

func (s *screen) expect(text string) {
	s.t.Helper()
	if !pace.Until(15*time.Second, func() bool {
		i := strings.Index(s.shown.String()[s.read:], text)
		if i >= 0 {
			s.read += i + len(text)
		}
		return i >= 0
	}) {
		s.t.Fatalf("the terminal never shows %q after\n%s", text, s.shown.String())
	}
}

// ends waits for the script's end and its exit status.
func (s *screen) ends(status int) {
	s.t.Helper()
	_ = s.cmd.Wait() // the status tells
	if got := s.cmd.ProcessState.ExitCode(); got != status {
		s.t.Errorf("exit status %d, want %d, after\n%s", got, status, s.shown.String())
	}
	s.outer.Close()
}

// asleep counts the commands that Ctrl-C ends.
var asleep atomic.Int32

// runs reports whether a process of this machine has the command line.
func runs(command string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(files, func(file string) bool {
		text, _ := os.ReadFile(file)
		return strings.ReplaceAll(string(text), "\x00", " ") == command+" "
	})
}

// works does what a user does at a shell in a container, except for its end.
func (s *screen) works() {
	s.t.Helper()
	s.expect("# ")
	s.line("echo $((40+2)) $(tty)", "42 /dev/pts/0")
	const size = `until [ "$(stty size)" = '%s' ]; do sleep 0.1; done; echo size $(stty size)`
	s.line(fmt.Sprintf(size, "41 123"), "size 41 123") // ctr sets it after the start
	if err := resize(s.outer, 50, 100); err != nil {
		s.t.Fatal(err)
	}
	s.line(fmt.Sprintf(size, "50 100"), "size 50 100")
	command := fmt.Sprintf("sleep 100000%d", asleep.Add(1)) // unlike any other
	s.line("echo asleep $((1+1)); "+command, "asleep 2")
	if !pace.Until(10*time.Second, func() bool { return runs(command) }) {
		s.t.Fatalf("no %q", command)
	}
	s.send("\x03")
	s.line("echo status $?, alive $((3+4))", "status 130, alive 7")
	s.line("echo direct $((2+3)) >/dev/tty", "direct 5")
}

// terminals tests docker run, exec and attach at a real terminal.
func (e *engine) terminals(t *testing.T) {
	for name, check := range map[string]func(*testing.T, context.Context, string){
		"run at a terminal": func(t *testing.T, ctx context.Context, name string) {
			s := e.atTerminal(ctx, t, name, `exec docker run --rm -it --runtime $RUNTIME --net none --name $C mini bash --norc -i`)
			s.works()
			s.send("exit 5\r")
			s.ends(5)
		},
		"exec at a terminal": func(t *testing.T, ctx context.Context, name string) {
			s := e.atTerminal(ctx, t, name, `run -d mini sleep 1000 >/dev/null; exec docker exec -it $C bash --norc -i`)
			s.works()
			s.send("exit 5\r")
			s.ends(5)
		},
		"detach and attach": func(t *testing.T, ctx context.Context, name string) {
			s := e.atTerminal(ctx, t, name, `exec docker run -it --runtime $RUNTIME --net none --name $C mini bash --norc -i`)
			s.expect("# ")
			s.line("A=$((40+2)); echo is $A", "is 42")
			s.send("\x10\x11") // Ctrl-P Ctrl-Q
			s.ends(0)
			s = e.atTerminal(ctx, t, name, `state Status; exec docker attach $C`)
			s.expect("running")
			s.line("echo still $A; stty size", "still 42")
			s.expect("41 123")
			s.send("exit 6\r")
			s.ends(6)
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := pace.Context(context.Background(), time.Minute)
			defer cancel()
			container := e.containerOf(name)
			defer e.remove(container)
			check(t, ctx, container)
		})
	}
}
