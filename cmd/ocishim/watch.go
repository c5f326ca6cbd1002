package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

// Root works on the state of a user in a child process. Slurm waits for this work without a limit,
// and the user may have mounted a file system over the state that never responds (FUSE). No signal
// ends a process that waits for such a file system, not even SIGKILL, but its parent can stop
// waiting.

// watchedVariable marks the child.
const watchedVariable = "_OCISHIM_WATCHED"

// watchPatience is how long root waits for the child. No user may make that longer.
const watchPatience = time.Minute

// watchedVerbs are the verbs with which Slurm, or root, cleans up after users.
var watchedVerbs = []string{"state", "kill", "delete", "start", "pause", "resume", "ps", "update", "list"}

// exitStatus is an error that says only what this process is to exit with: everything else has been
// reported.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// callInWatchedChild makes the call in a child process if it is a call of root on what may be a
// user's state, and returns the child's exitStatus. It returns nil if the call is to be made here.
func callInWatchedChild(c *cli.Context) error {
	if !runtime.IsRoot() || os.Getenv(watchedVariable) != "" || !slices.Contains(watchedVerbs, c.Args().First()) || !mayBeUsers(c) {
		return nil
	}
	if err := runtime.CloseOnExec(); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), watchedVariable+"=1")
	// These pipes are our own: a program that reads our output waits until nobody holds the other
	// end.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, struct{ io.Writer }{os.Stdout}, struct{ io.Writer }{os.Stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s of our own: %w", c.Args().First(), err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return statusOf(err)
	case <-time.After(watchPatience):
		_ = cmd.Process.Kill()
		return fmt.Errorf("%w within %v: process %d, which works on it as the user, is left behind",
			errNoAnswer, watchPatience, cmd.Process.Pid)
	}
}

// errNoAnswer says that work on a user's state gave no result.
var errNoAnswer = errors.New("the state of the user's containers gave no answer")

// statusOf returns the child's exit status, or 1 if a signal ended it.
func statusOf(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitStatus(0)
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exitStatus(exit.ExitCode())
	}
	return fmt.Errorf("work on the state of the user's containers: %w", err)
}

// mayBeUsers reports whether the call may look at files of a user.
func mayBeUsers(c *cli.Context) bool {
	for _, arg := range c.Args().Tail() {
		if _, err := slurm.ParseID(arg); err == nil || strings.Contains(arg, "%") {
			return true
		}
	}
	for _, name := range []string{"root", "log"} {
		path := globals(c).String(name)
		if _, found := runtime.CallersDescriptor(path); found && name == "log" {
			continue
		}
		if path != "" && (strings.Contains(path, "%") || !runtime.OnlyRoots(path)) {
			return true
		}
	}
	return false
}
