package inplace

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// RlimitNumber converts the names of config.md (POSIX process) to the numbers of setrlimit(2).
func RlimitNumber(name string) (int, bool) {
	for i, known := range strings.Fields(rlimitNames) {
		if name == "RLIMIT_"+known {
			return i, true
		}
	}
	return 0, false
}

// rlimitNames are the names in asm-generic/resource.h, in order.
const rlimitNames = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"

// SetOOMScore makes this process, and those that it becomes, more or less likely to be killed when
// memory is short: from -1000 to 1000 (proc_pid_oom_score_adj(5)).
func SetOOMScore(score int) error {
	err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
	if errors.Is(err, unix.EACCES) {
		return hinted{
			fmt.Errorf("set oom score to %d: %w", score, err),
			"only root may lower it: remove process.oomScoreAdj from config.json",
		}
	}
	if err != nil {
		return fmt.Errorf("set oom score to %d: %w", score, err)
	}
	return nil
}
