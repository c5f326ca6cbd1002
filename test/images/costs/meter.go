package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// meter runs a script n times at once, waits for all its descendants and prints a figure. It is a
// process of its own: the kernel adds to it what all of them have cost.
func meter(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	var f figure
	began := time.Now()
	tasks := make([]*exec.Cmd, n)
	outs := make([]first, n)
	for i := range tasks {
		cmd := exec.Command("/bin/sh", "-c", args[1])
		cmd.Env = append(os.Environ(), fmt.Sprintf("SLURM_PROCID=%d", i), fmt.Sprintf("SLURM_LOCALID=%d", i), fmt.Sprintf("TASK=%d", i))
		outs[i].began = began
		cmd.Stdout, cmd.Stderr = &outs[i], &outs[i].said
		cmd.WaitDelay = time.Second
		if err := cmd.Start(); err != nil {
			return err
		}
		tasks[i] = cmd
	}
	before := n
	done := make(chan struct{})
	var counting sync.WaitGroup
	counting.Go(func() { f.Processes = count(done) - before })
	for i, cmd := range tasks {
		if err := cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			f.Failed = fmt.Sprintf("%v: %s", err, outs[i].last())
		}
		if outs[i].at > 0 {
			f.First = outs[i].at
		}
	}
	f.Wall = time.Since(began)
	close(done)
	counting.Wait()
	reap()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &r); err != nil {
		return err
	}
	f.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if f.Written, err = written(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// first notes when the first output comes.
type first struct {
	began time.Time
	at    time.Duration
	said  bytes.Buffer
}

func (f *first) Write(p []byte) (int, error) {
	if f.at == 0 {
		f.at = time.Since(f.began)
	}
	return len(p), nil
}

func (f *first) last() string {
	lines := strings.Split(strings.TrimSpace(f.said.String()), "\n")
	for _, line := range lines {
		if strings.Contains(strings.ToLower(line), "error") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// count returns the fewest processes that the user had in the middle of the run, beside the meter: the
// tasks, and whatever stays beside them.
func count(done <-chan struct{}) int {
	var counts []int
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			if len(counts) == 0 {
				return 0
			}
			return counts[len(counts)/2]
		case <-tick.C:
			n := 0
			dirs, _ := filepath.Glob("/proc/[0-9]*")
			for _, dir := range dirs {
				status, err := os.ReadFile(dir + "/status")
				if err == nil && owned(status) && filepath.Base(dir) != strconv.Itoa(os.Getpid()) {
					n++
				}
			}
			counts = append(counts, n)
		}
	}
}

// owned reports whether a process is the user's, or of an id that the user's namespaces map.
func owned(status []byte) bool {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "Uid:\t"); ok {
			id, _ := strconv.Atoi(strings.Fields(rest)[0])
			return id == user || id >= 1000000
		}
	}
	return false
}

// reap waits until all descendants have ended. It ends those that stay for more than five seconds.
func reap() {
	deadline := time.Now().Add(5 * time.Second)
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.ECHILD) {
			return
		}
		if pid > 0 {
			continue
		}
		if time.Now().After(deadline) {
			children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
			for word := range strings.FieldsSeq(string(children)) {
				if pid, err := strconv.Atoi(word); err == nil {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// written returns the bytes that this process and the ended ones have written to files.
func written() (int64, error) {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, errors.New("/proc/self/io has no write_bytes")
}
