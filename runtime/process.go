package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Process names a process beyond the reuse of its pid: the kernel's start
// time, in clock ticks since boot, comes from field 22 of /proc/PID/stat.
type Process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// stat is what proc(5) says of a process in /proc/PID/stat.
type stat struct {
	comm     string
	state    byte
	parent   int
	threads  int
	start    uint64
	exitCode int // as wait(2) has it; 0 where we may not see it
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	text := string(data)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("read /proc/%d/stat: no command in it", pid)
	}
	fields := strings.Fields(text[end+1:]) // from field 3, the state, on
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("read parent of process %d: %w", pid, err)
	}
	threads, err := strconv.Atoi(fields[17])
	if err != nil {
		return stat{}, fmt.Errorf("read threads of process %d: %w", pid, err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	return stat{comm: text[open+1 : end], state: fields[0][0], parent: parent, threads: threads, start: start, exitCode: exitCode(fields)}, nil
}

// exitCode is field 52, the last.
func exitCode(fields []string) int {
	if len(fields) < 50 {
		return 0
	}
	code, _ := strconv.Atoi(fields[49])
	return code
}

// identify returns the process that has the pid now.
func identify(pid int) (Process, error) {
	st, err := readStat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return Process{Pid: pid, Start: st.start}, nil
}

// ended tells whether nothing of the process runs any more. A zombie whose
// first thread alone has exited has others.
func (s stat) ended() bool { return s.state == 'X' || s.state == 'Z' && s.threads <= 1 }

// Alive tells whether the very process still runs.
func (p Process) Alive() bool {
	if p.Pid <= 0 {
		return false
	}
	st, err := readStat(p.Pid)
	return err == nil && st.start == p.Start && !st.ended()
}

// signal sends sig to the very process, never to one that took over its pid.
// Kernels before 5.3 lack pidfd_open: there a check and a kill must do.
func (p Process) signal(sig unix.Signal) error {
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

// stepDaemon finds the slurmstepd that runs our step: the outermost of the
// nearest ancestors of that name, since one of its children may play the task.
// When it is gone nobody will end or clean up the container for us. Zero means
// that there is none.
func stepDaemon() Process {
	var found Process
	for pid := os.Getppid(); pid > 1; {
		st, err := readStat(pid)
		if err != nil {
			break
		}
		if strings.HasPrefix(st.comm, "slurmstepd") {
			found = Process{Pid: pid, Start: st.start}
		} else if found.Pid != 0 {
			break
		}
		pid = st.parent
	}
	return found
}

// bootID distinguishes this boot of the machine from every other one: after a
// reboot pids and start times mean nothing.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
