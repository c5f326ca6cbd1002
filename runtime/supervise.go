package runtime

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// A supervisor is the parent of a running container: it passes signals on,
// takes the exit status, and cleans up.
type supervisor struct {
	l        *launch
	terminal *terminal // nil without
	signals  chan os.Signal
	imposed  unix.Signal // the signal whose default action we carried out
	executed bool        // the first process has become the application
	orphaned bool        // the Slurm step is gone
}

// catchSignals takes every signal that can be meant for the application, from
// before there is one. Left alone are those that cannot be caught, that report
// a fault of our own, or that tell a terminal's background process to stop.
func catchSignals() chan os.Signal {
	signals := make(chan os.Signal, 128)
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL,
			syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPROF, syscall.SIGURG, 32, 33:
			continue
		}
		signal.Notify(signals, n)
	}
	return signals
}

func (sup *supervisor) release() {
	signal.Stop(sup.signals)
	if sup.terminal != nil {
		sup.terminal.close()
	}
}

// supervise runs until the application has ended, cleans up, and returns its
// status.
func (sup *supervisor) supervise() int {
	orphaned := watch(sup.l.c.Daemon)
	if sup.terminal != nil {
		sup.terminal.resize()
	}
	var end syscall.WaitStatus
	for ended := false; !ended; {
		select {
		case s := <-sup.signals:
			switch s {
			case unix.SIGCHLD:
				end, ended = sup.reap()
			case unix.SIGWINCH:
				sup.windowChanged()
			default:
				sup.forward(s.(syscall.Signal))
			}
		case <-orphaned:
			orphaned = nil
			sup.orphaned = true
			_ = sup.l.c.Init.signal(unix.SIGKILL)
		}
	}
	_, _ = sup.l.process.Wait() // only frees what os/exec holds
	sup.killLeftovers()
	if sup.terminal != nil {
		sup.terminal.drain()
	}
	status := sup.exitStatus(end)
	sup.finish(status)
	return status
}

// windowChanged tells the container's terminal, or its application, the news.
func (sup *supervisor) windowChanged() {
	if sup.terminal != nil {
		sup.terminal.resize()
		return
	}
	sup.forward(unix.SIGWINCH)
}

// forward passes the signal on to the application, once it is one.
func (sup *supervisor) forward(sig unix.Signal) {
	sup.awaitExec()
	init := sup.l.c.Init
	if !sup.l.o.Step {
		if err := init.signal(sig); err != nil && !gone(err) {
			logrus.Errorf("forward signal %d: %v", sig, err)
		}
		return
	}
	sent, err := deliver(init, sig)
	if err != nil && !gone(err) {
		logrus.Errorf("forward signal %d: %v", sig, err)
	}
	if sent == unix.SIGKILL && sup.imposed == 0 {
		sup.imposed = sig
	}
}

// awaitExec waits, for a second at most, until the first process has executed
// the application: before, a signal would end libcontainer's part of it.
func (sup *supervisor) awaitExec() {
	for range 1000 {
		if sup.executed {
			return
		}
		st, err := readStat(sup.l.c.Init.Pid)
		if err != nil || st.comm != launchName {
			break
		}
		time.Sleep(time.Millisecond)
	}
	sup.executed = true
}

// reap collects ended children; ended says that the application is among them.
func (sup *supervisor) reap() (status syscall.WaitStatus, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil || pid <= 0:
			return status, ended
		case pid == sup.l.c.Init.Pid:
			status, ended = ws, true
		}
	}
}

// exitStatus is the application's status as a shell has it.
func (sup *supervisor) exitStatus(ws syscall.WaitStatus) int {
	if !ws.Signaled() {
		return ws.ExitStatus()
	}
	if ws.Signal() == unix.SIGKILL && sup.imposed != 0 {
		return 128 + int(sup.imposed)
	}
	return 128 + int(ws.Signal())
}

// killLeftovers ends the processes that a container without a pid namespace of
// its own leaves behind. They are our children by now.
func (sup *supervisor) killLeftovers() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		left := children()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_, _ = sup.reap()
	}
}

// children lists our children (proc(5), /proc/PID/task/TID/children).
func children() []int {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range threads {
		data, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// watch returns a channel that is closed when the process has ended: nil, which
// blocks for ever, when there is none to watch.
func watch(p Process) <-chan struct{} {
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

// awaitEnd returns when the process has ended. It sleeps in the kernel;
// kernels before 5.3 have no way for that, so there it looks every second.
func awaitEnd(p Process) {
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
