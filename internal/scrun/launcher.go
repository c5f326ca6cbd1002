package scrun

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// LauncherVerb and AnchorVerb are the verbs that make this program a launcher, or the anchor
// of the entry that follows. Only this package uses them.
const (
	LauncherVerb = "scrun-launcher"
	AnchorVerb   = "scrun-anchor"
)

// The launcher's descriptors, after the standard ones: salloc's command gets only what we
// give it.
const (
	launcherOrders = 3 + iota
	launcherNews
	launcherStdin
	launcherStdout
	launcherStderr
	launcherFile // this program
)

// The launcher's messages to the anchor, a line each.
const (
	newsJob   = "job"   // followed by the job's number and nodes
	newsEnded = "ended" // srun has ended
)

// An order says what the launcher must execute.
type order struct {
	Args     []string `json:"args"`
	Terminal bool     `json:"terminal,omitempty"` // srun gets it, in a new session
	Own      bool     `json:"own,omitempty"`      // the terminal is the caller's
	// Stay makes the launcher wait for srun, and then for the end of its orders: the
	// allocation is needed for staging out.
	Stay bool `json:"stay,omitempty"`
}

// sallocsTime is how long salloc gets to handle its parent-death signal when the anchor is
// killed: it may hang if its command ends at the same moment.
const sallocsTime = 300 * time.Millisecond

// frugal are variables with which Go's runtime does little in the background. They are not
// passed to srun.
var frugal = []string{"GOMAXPROCS=1", "GOGC=off"}

// environment returns the launcher's environment, which salloc made, without frugal.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return slices.Contains(frugal, entry) })
}

// BecomeLauncher makes this process the command of salloc: it reports its job, waits for the
// order from start, and becomes srun. If it does not, it returns the exit status. Without an
// order it ends, and the allocation with it.
func BecomeLauncher() int {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	for fd := launcherOrders; fd <= launcherFile; fd++ {
		unix.CloseOnExec(fd)
	}
	unix.Close(launcherFile)
	news := os.NewFile(launcherNews, "news")
	fmt.Fprintf(news, "%s %s %s\n", newsJob, os.Getenv("SLURM_JOB_ID"), os.Getenv("SLURM_JOB_NODELIST"))
	orders := os.NewFile(launcherOrders, "orders")
	line, err := bufio.NewReader(orders).ReadString('\n')
	if err != nil { // the anchor was killed
		time.Sleep(sallocsTime)
		return 0
	}
	var o order
	if bundle.Unmarshal([]byte(line), &o) != nil || len(o.Args) == 0 {
		return 0
	}
	program := find(o.Args[0])
	if o.Own { // salloc has put us in a new process group, which may not use the terminal
		if group, err := unix.IoctlGetInt(launcherStdin, unix.TIOCGPGRP); err == nil {
			_ = unix.Setpgid(0, group)
		}
	}
	if !o.Stay && !o.Terminal {
		err = o.become(program)
	} else {
		var status int
		if status, err = o.run(program); err == nil {
			fmt.Fprintln(news, newsEnded)
			if o.Stay {
				_, _ = orders.Read(make([]byte, 1)) // until the anchor closes it
			}
			return status
		}
	}
	fmt.Fprintf(os.Stderr, "srun: error: start %s: %v\n", program, err)
	return exitLost
}

// become executes srun in place of the launcher, with the container's stdin and stdout. Its
// stderr stays connected to the anchor, for srun's messages. The container's stderr is
// descriptor 3, which --error names.
func (o order) become(program string) error {
	unix.Close(launcherOrders)
	for _, move := range [][2]int{{launcherStdin, 0}, {launcherStdout, 1}, {launcherStderr, 3}} {
		if err := unix.Dup3(move[0], move[1], 0); err != nil {
			return err
		}
	}
	return unix.Exec(program, o.Args, environment())
}

// run runs srun as a child. With a terminal it must lead a session, which salloc's command
// itself cannot.
func (o order) run(program string) (int, error) {
	cmd := &exec.Cmd{Path: program, Args: o.Args, Env: environment(), Stderr: os.Stderr}
	cmd.Stdin, cmd.Stdout = os.NewFile(launcherStdin, "stdin"), os.NewFile(launcherStdout, "stdout")
	cmd.ExtraFiles = []*os.File{os.NewFile(launcherStderr, "stderr")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if o.Terminal {
		cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM) // forwarded to srun
	go func() {
		for range signals {
			_ = cmd.Process.Signal(unix.SIGTERM)
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return exitLost, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	}
	return 0, err
}

// srunArgs returns the command line of the container's step.
func (r *Record) srunArgs() []string {
	args := []string{"srun", "--verbose", "--export=NONE"}
	if r.Terminal {
		args = append(args, "--pty")
	} else {
		args = append(args, "--error=/proc/self/fd/3")
	}
	if r.Foreign {
		args = append(args, "--jobid="+r.Job)
	}
	args = append(args, r.Launch...)
	if len(r.Enter) > 0 {
		return append(append(args, "--chdir=/", "--"), r.Enter...)
	}
	return append(append(args, "--container="+r.Remote, "--"), r.Args...)
}
