package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
)

// The realtime signals, as the C library numbers them (signal(7)).
const (
	minRealtime = 34
	maxSignal   = 64
)

// ParseSignal parses a signal, by number or by name, with or without SIG, in any case: 9,
// KILL, SIGKILL, sigkill, RTMIN+3. Numbers 1 to 64 exist on Linux; 0 is not a signal, but
// only checks whether one could be sent (kill(2)).
func ParseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > maxSignal {
			return 0, fmt.Errorf("%w %q: numbers go from 0 to %d", ErrUnknownSignal, s, maxSignal)
		}
		return unix.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if sig := otherName(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%w %q", ErrUnknownSignal, s)
}

// otherName parses names that x/sys does not know (signal(7)), such as SIGRTMIN+N and
// SIGRTMAX-N. It returns 0 for any other name.
func otherName(name string) unix.Signal {
	const most = maxSignal - minRealtime
	switch name {
	case "SIGCLD":
		return unix.SIGCHLD
	case "SIGIOT":
		return unix.SIGABRT
	case "SIGPOLL":
		return unix.SIGIO
	case "SIGUNUSED":
		return unix.SIGSYS
	case "SIGRTMIN":
		return minRealtime
	case "SIGRTMAX":
		return maxSignal
	}
	if text, ok := strings.CutPrefix(name, "SIGRTMIN+"); ok {
		if n, err := strconv.ParseUint(text, 10, 8); err == nil && n <= most {
			return minRealtime + unix.Signal(n)
		}
	}
	if text, ok := strings.CutPrefix(name, "SIGRTMAX-"); ok {
		if n, err := strconv.ParseUint(text, 10, 8); err == nil && n <= most {
			return maxSignal - unix.Signal(n)
		}
	}
	return 0
}

// launchName is the name of libcontainer's first process until it becomes the application
// (nsexec.c, PR_SET_NAME).
const launchName = "runc:[2:INIT]"

// effective returns the signal that affects the container's first process as sig would
// without a container. The kernel drops a signal to the first process of a pid namespace if
// its action is the default one (pid_namespaces(7)). An application that does not know that
// it is process 1 would thus ignore Ctrl-C and scancel, so we carry out the default action.
func effective(p process.ID, sig unix.Signal) unix.Signal {
	if sig != unix.SIGKILL && sig != unix.SIGSTOP && dropped(p.Pid, sig) {
		return defaultAction(sig)
	}
	return sig
}

// awaitExec waits, for at most a second, until the first process of a started container has
// executed the application: before that, a signal would hit libcontainer's code.
func awaitExec(p process.ID) {
	for range 1000 {
		if st, err := process.ReadStat(p.Pid); err != nil || st.Start != p.Start || st.Comm != launchName {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// dropped reports whether the kernel drops the signal: the process is the first of its pid
// namespace, and neither catches, ignores nor blocks it. A blocked signal stays pending;
// that is how init programs receive signals.
func dropped(pid int, sig unix.Signal) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	bit := uint64(1) << (uint(sig) - 1)
	first := false
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "NSpid":
			ids := strings.Fields(value)
			first = len(ids) > 1 && ids[len(ids)-1] == "1"
		case "SigBlk", "SigIgn", "SigCgt":
			mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil || mask&bit != 0 {
				return false
			}
		}
	}
	return first
}

// defaultAction returns the signal that does to process 1 what sig does to any other process
// by default (signal(7)).
func defaultAction(sig unix.Signal) unix.Signal {
	switch sig {
	case unix.SIGCHLD, unix.SIGURG, unix.SIGWINCH, unix.SIGCONT:
		return sig
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return unix.SIGSTOP
	}
	return unix.SIGKILL
}

// sharing lists the processes that share the namespace of p, with p last.
func sharing(p process.ID, namespace string) []int {
	own, err := os.Readlink("/proc/" + strconv.Itoa(p.Pid) + "/ns/" + namespace)
	if err != nil {
		return []int{p.Pid}
	}
	names, err := os.ReadDir("/proc")
	if err != nil {
		return []int{p.Pid}
	}
	var pids []int
	for _, e := range names {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == p.Pid {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/" + namespace); err == nil && ns == own {
			pids = append(pids, pid)
		}
	}
	return append(pids, p.Pid)
}

// hasOwnPidNamespace reports whether the process is the first of a pid namespace below
// ours, so that its end ends all processes in it.
func hasOwnPidNamespace(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "NSpid:"); ok {
			ids := strings.Fields(value)
			return len(ids) > 1 && ids[len(ids)-1] == "1"
		}
	}
	return false
}

// gone reports whether an error from sending a signal means that the process has ended.
func gone(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrProcessDone) }
