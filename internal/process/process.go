// Package process names processes so that nobody else's is meant when a pid is used
// again, and reads what the kernel says of them.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An ID names a process beyond the reuse of its pid: Start is when it began, in clock
// ticks since boot (proc(5), /proc/PID/stat, field 22). Zero is no process.
type ID struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// Identify returns the process that has the pid now.
func Identify(pid int) (ID, error) {
	st, err := ReadStat(pid)
	if err != nil {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return ID{Pid: pid, Start: st.Start}, nil
}

// Alive tells whether the very process still runs; a zombie does not.
func (p ID) Alive() bool {
	if p.Pid <= 0 {
		return false
	}
	st, err := ReadStat(p.Pid)
	return err == nil && st.Start == p.Start && !st.Ended()
}

// Signal sends sig to the very process, never to one that took over its pid: ESRCH
// then. Kernels before 5.3 lack pidfd_open: there a check and a kill must do.
func (p ID) Signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	switch {
	case errors.Is(err, unix.ENOSYS):
		if !p.Alive() {
			return unix.ESRCH
		}
		return unix.Kill(p.Pid, sig)
	case err != nil:
		return err
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// A Stat is what proc(5) says of a process in /proc/PID/stat.
type Stat struct {
	Comm    string
	State   byte // a letter, such as R, S or Z
	Parent  int
	Threads int
	Start   uint64 // in clock ticks since boot
}

// Ended tells whether nothing of the process runs any more. A zombie whose
// first thread alone has exited has others.
func (s Stat) Ended() bool { return s.State == 'X' || s.State == 'Z' && s.Threads <= 1 }

// ReadStat reads that of the process that has the pid now.
func ReadStat(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	text := string(data)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return Stat{}, fmt.Errorf("read /proc/%d/stat: no command in it", pid)
	}
	fields := strings.Fields(text[end+1:]) // from field 3, the state, on
	if len(fields) < 20 {
		return Stat{}, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return Stat{}, fmt.Errorf("read parent of process %d: %w", pid, err)
	}
	threads, err := strconv.Atoi(fields[17])
	if err != nil {
		return Stat{}, fmt.Errorf("read threads of process %d: %w", pid, err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	return Stat{Comm: text[open+1 : end], State: fields[0][0], Parent: parent, Threads: threads, Start: start}, nil
}

// BootID distinguishes this boot of the machine from every other one: after a
// reboot pids and start times mean nothing. Empty where it cannot be read.
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
