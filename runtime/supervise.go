package runtime

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
)

// A supervisor is the parent of a running container: it passes signals on,
// takes the exit status, and cleans up.
type supervisor struct {
	l        *launch // nil for a process that is added to another supervisor's container
	process  *libcontainer.Process
	app      process.ID // the same process, for the kernel
	policy   Signals    // the effect of signals
	terminal *terminal  // nil without one
	relay    *relay     // nil without one
	signals  chan os.Signal
	caught   chan struct{}       // closed once all signals are caught
	ended    chan os.Signal      // SIGCHLD, apart from the others so that none is lost
	imposed  unix.Signal         // the signal whose default action we carried out
	orphaned bool                // the Slurm step is over
	refused  bool                // the process ended before it became the command
	listens  bool                // our caller reports the reason
	words    *lastWords          // nil if nobody listens
	adopting bool                // we are the reaper of the application's orphans
	siblings map[process.ID]bool // children that are not the application's
}

// catchSignals catches every signal that may be meant for the application, before that
// exists. It leaves out signals that cannot be caught, that report a fault of our own, that
// stop a terminal's background process, and those that our caller ignores, as with nohup(1).
func catchSignals(signals chan<- os.Signal) {
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL,
			syscall.SIGCHLD, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPROF, syscall.SIGURG, 32, 33:
			continue
		}
		if !signal.Ignored(n) {
			signal.Notify(signals, n)
		}
	}
}

// stopIgnoringSignals restores the default action of signals that our caller ignores, for
// programs that we start from now on. We ourselves go on ignoring them. It is for containers
// in the background: there, a caller that was started with nohup(1) or a shell's & is an
// engine, whose choice is not meant for the application. A shell could not even trap such
// signals. runc does the same. Go itself keeps only these two ignored for its caller.
func stopIgnoringSignals() {
	for _, n := range []os.Signal{unix.SIGHUP, unix.SIGINT} {
		if signal.Ignored(n) {
			signal.Notify(make(chan os.Signal, 1), n)
		}
	}
}

// catchEnds catches SIGCHLD. A buffer of one is enough: all children that have ended are
// reaped at once.
func catchEnds() chan os.Signal {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	return ended
}

// release restores the caller's terminal and ends the relay. It does not stop catching
// signals: the process is about to exit, and to stop takes as long as a fork.
func (sup *supervisor) release() {
	if sup.terminal != nil {
		sup.terminal.close()
	}
	if sup.relay != nil {
		sup.relay.drain()
	}
}

// becomeReaper makes this process the parent of the processes that the application leaves
// behind, if they do not end with it. It also remembers which children are not the
// application's: a shell that became us by exec may have had some.
func (sup *supervisor) becomeReaper() {
	if ns := namespace(sup.l.b.Spec, specs.PIDNamespace); ns != nil && ns.Path == "" {
		return
	}
	sup.adopting = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == nil
	sup.siblings = map[process.ID]bool{}
	for _, p := range children() {
		sup.siblings[p] = true
	}
}

// supervise leaves the working directory, waits until the application has ended, cleans up,
// and returns its status.
func (sup *supervisor) supervise() int {
	_ = os.Chdir("/") // all paths are absolute by now; keep no directory busy
	var orphaned <-chan struct{}
	if sup.l != nil {
		orphaned = watch(sup.l.c.Daemon)
	}
	var typed <-chan unix.Signal
	if sup.terminal != nil {
		sup.terminal.resize()
		typed = sup.terminal.typed
	}
	var end syscall.WaitStatus
	for ended := false; !ended; {
		select {
		case <-sup.ended:
			end, ended = sup.reap()
		case s := <-sup.signals:
			sup.pass(s.(syscall.Signal))
		case sig := <-typed:
			sup.typed(sig)
		case <-orphaned:
			orphaned = nil
			sup.orphaned = true
			_ = sup.app.Signal(unix.SIGKILL)
		}
	}
	_, _ = sup.process.Wait() // only to release what os/exec holds
	sup.killLeftovers()
	if sup.terminal != nil {
		sup.terminal.drain()
	}
	status := sup.exitStatus(end)
	if sup.l != nil {
		sup.finish(status)
	}
	return status
}

// pass handles a signal that was caught. Most are forwarded to the application.
func (sup *supervisor) pass(sig syscall.Signal) {
	switch sig {
	case unix.SIGPIPE: // meant for us: the reader of the terminal's output is gone
	case unix.SIGWINCH:
		sup.windowChanged()
	default:
		sup.forward(sig)
	}
}

// typed carries out a signal that was typed on the terminal, if the kernel drops it.
func (sup *supervisor) typed(sig unix.Signal) {
	if sup.policy == SignalsWithEffect && sup.terminal.inForeground(sup.app) && effective(sup.app, sig) != sig {
		sup.forward(sig)
	}
}

// windowChanged resizes the container's terminal, or forwards the signal without one.
func (sup *supervisor) windowChanged() {
	if sup.terminal != nil {
		sup.terminal.resize()
		return
	}
	sup.forward(unix.SIGWINCH)
}

// forward sends the signal to the application, once that is executed.
func (sup *supervisor) forward(sig unix.Signal) {
	sent := sig
	awaitExec(sup.app)
	if sup.policy == SignalsWithEffect {
		sent = effective(sup.app, sig)
	}
	if sent == unix.SIGKILL && sup.imposed == 0 {
		sup.imposed = sig
	}
	if err := sup.app.Signal(sent); err != nil && !gone(err) {
		logrus.Errorf("forward signal %d: %v", sig, err)
	}
}

// reap reaps children that have ended, and reports whether the application is among them.
// If we do not adopt the application's orphans, it looks only at the application.
func (sup *supervisor) reap() (status syscall.WaitStatus, ended bool) {
	target := sup.app.Pid
	if sup.adopting {
		for _, p := range children() {
			if p.Pid != target {
				collect(p.Pid)
			}
		}
	}
	st, err := process.ReadStat(target)
	if err == nil && !st.Ended() {
		return 0, false
	}
	status, ended = collect(target)
	sup.refused = err == nil && ended && neverExecuted(st, status)
	return status, ended
}

// collect reaps a child and returns its status, if it has ended.
func collect(pid int) (status syscall.WaitStatus, ended bool) {
	for {
		got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
		if !errors.Is(err, syscall.EINTR) {
			return status, got == pid
		}
	}
}

// neverExecuted reports whether a process ended before it became the application: a
// startContainer hook failed, or the kernel refused to execute the command. It judges by the
// name that the process had before it was reaped, since libcontainer's status alone could
// be the application's.
func neverExecuted(s process.Stat, status syscall.WaitStatus) bool {
	const libcontainerFailed = 255
	return s.Comm == launchName && status.Exited() && status.ExitStatus() == libcontainerFailed
}

// exitStatus returns the application's status, as a shell reports it.
func (sup *supervisor) exitStatus(ws syscall.WaitStatus) int {
	if !ws.Signaled() {
		return ws.ExitStatus()
	}
	if ws.Signal() == unix.SIGKILL {
		if sup.imposed == 0 && sup.l != nil {
			sup.imposed = sup.l.c.imposed()
		}
		if sup.imposed != 0 {
			return 128 + int(sup.imposed)
		}
	}
	return 128 + int(ws.Signal())
}

// killLeftovers kills the processes that a container without a pid namespace of its own
// leaves behind. They are our children by now.
func (sup *supervisor) killLeftovers() {
	if !sup.adopting {
		return
	}
	for deadline := time.Now().Add(endPatience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		left := false
		for _, p := range children() {
			if !sup.siblings[p] {
				left = true
				_ = p.Signal(unix.SIGKILL)
			}
		}
		if !left {
			return
		}
		_, _ = sup.reap()
	}
}

// children lists our children (proc(5), /proc/PID/task/TID/children).
func children() []process.ID {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var found []process.ID
	for _, t := range threads {
		data, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			if p, err := process.Identify(pid); err == nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// watch returns a channel that is closed when the process has ended. It is nil, which blocks
// for ever, if there is no process to watch.
func watch(p process.ID) <-chan struct{} {
	if p.Pid == 0 {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		awaitEnd(p)
		close(ended)
	}()
	return ended
}

// awaitEnd returns when the process has ended. On kernels before 5.3, which have no pidfd to
// wait for, it checks every second.
func awaitEnd(p process.ID) {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		for p.Alive() {
			time.Sleep(time.Second)
		}
		return
	}
	defer unix.Close(fd)
	for p.Alive() {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
	}
}
