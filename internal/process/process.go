// Package process identifies processes even after their pid is reused, and reads what the kernel
// reports about them.
package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An ID identifies a process beyond the reuse of its pid. Start is when it began, in clock ticks
// since boot (proc(5), /proc/PID/stat, field 22). The zero ID is no process.
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

// Alive reports whether this very process still runs; a zombie does not.
func (p ID) Alive() bool {
	if p.Pid <= 0 {
		return false
	}
	st, err := ReadStat(p.Pid)
	return err == nil && st.Start == p.Start && !st.Ended()
}

// Signal sends sig to this very process, never to a later one with the same pid, for which it
// returns ESRCH. Kernels before 5.3 lack pidfd_open: there Signal checks first, and then kills.
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

// A Stat is what /proc/PID/stat says of a process (proc(5)).
type Stat struct {
	Comm    string
	State   byte // a letter, such as R, S or Z
	Parent  int
	Threads int
	Start   uint64 // in clock ticks since boot
}

// Ended reports whether no thread of the process runs any more. In a zombie of which only the first
// thread has exited, others do.
func (s Stat) Ended() bool { return s.State == 'X' || s.State == 'Z' && s.Threads <= 1 }

// ReadStat reads the Stat of the process that has the pid now.
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

// BootID returns an id of this boot of the host: after a reboot pids and start times mean nothing.
// It is empty if it cannot be read.
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
