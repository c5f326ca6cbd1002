package inplace

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

type rlimit struct {
	Type int    `json:"type"`
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// set uses package syscall, which then leaves the limit of open files alone.
func (l rlimit) set() error {
	if err := syscall.Setrlimit(l.Type, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard}); err != nil {
		return fmt.Errorf("set rlimit %d to %d:%d: %w", l.Type, l.Soft, l.Hard, err)
	}
	return nil
}

// rlimitNumbers maps the names of config.md (POSIX process) to those of
// setrlimit(2).
func rlimitNumbers() map[string]int {
	return map[string]int{
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
		"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
		"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
		"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
	}
}

// setOOMScore makes the process more or less likely to be killed when memory is
// short.
func setOOMScore(score int) error {
	err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
	if errors.Is(err, unix.EACCES) {
		return hinted{
			fmt.Errorf("set oom score to %d: %w", score, err),
			"only root may lower it: leave process.oomScoreAdj out of config.json",
		}
	}
	if err != nil {
		return fmt.Errorf("set oom score to %d: %w", score, err)
	}
	return nil
}
