package scrun

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Process names a process beyond the reuse of its pid: Start is when it began,
// in clock ticks since boot (proc(5), /proc/PID/stat, field 22).
type Process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// identify returns the process that has the pid now.
func identify(pid int) (Process, error) {
	start, _, err := processStat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return Process{Pid: pid, Start: start}, nil
}

// processStat reads the start time and the state's letter.
func processStat(pid int) (start uint64, state byte, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0][0], err
}

// Alive tells whether the very process still runs; a zombie does not.
func (p Process) Alive() bool {
	if p.Pid <= 0 {
		return false
	}
	start, state, err := processStat(p.Pid)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// signal sends sig to the very process, never to one that took over its pid.
func (p Process) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.3 a check and a kill must do
		if !p.Alive() {
			return unix.ESRCH
		}
		return unix.Kill(p.Pid, sig)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// bootID distinguishes this boot of the machine: after another one pids and
// start times mean nothing.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
