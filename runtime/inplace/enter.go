package inplace

import "C" // enter.c, which runs before Go does

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// orderVariable tells the constructor in enter.c, and then Go, what to do.
const orderVariable = "_OCISHIM_ENTER"

// A Namespace is the user namespace that a container is to run in.
type Namespace struct {
	// Join is an open /proc/PID/ns/user, nil to make a new one.
	Join *os.File
	// Mounts is an open /proc/PID/ns/mnt of the container that the process is to be
	// added to; nil for the first one of a container.
	Mounts *os.File
	// Step is the file that says which namespace the tasks of a Slurm step share,
	// locked; nil for a container on its own. Who makes the namespace notes it
	// there; the lock goes when that is done, or with the process.
	Step *os.File
}

// Become replaces this process by the application of the task in the file. It returns
// only when that fails before anything has been done; what fails later is reported on
// stderr, and the process exits as `run` does.
//
// It works by executing this program, or the copy of it in exe, again: only a process
// with one thread can enter a user namespace, and Go starts several. Descriptors that
// are not closed on exec stay open, at their numbers.
func Become(file *os.File, ns Namespace, exe *os.File) error {
	order := orderVariable + "=" + strconv.Itoa(int(file.Fd()))
	for _, f := range []*os.File{ns.Join, ns.Step, ns.Mounts} {
		if f == nil {
			order += ":-1"
			continue
		}
		order += ":" + strconv.Itoa(int(f.Fd()))
		if err := keepOpen(f); err != nil {
			return fmt.Errorf("launch in place: %w", err)
		}
	}
	if err := keepOpen(file); err != nil {
		return fmt.Errorf("launch in place: %w", err)
	}
	program := "/proc/self/exe"
	if exe != nil {
		program = "/proc/self/fd/" + strconv.Itoa(int(exe.Fd()))
	}
	err := syscall.Exec(program, os.Args, append(frugal(), order))
	return fmt.Errorf("launch in place: execute %s: %w", program, err)
}

// frugal is an environment in which Go does little beside what it is asked for: one
// thread's worth of scheduling, and no collection in a process that soon is another.
func frugal() []string { return []string{"GOMAXPROCS=1", "GOGC=off"} }

// keepOpen lets the descriptor live on across the next exec.
func keepOpen(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	return err
}

// FinishBecoming is the second half of Become, and ends the process when it fails. In any
// other process it does nothing. It must be called on the main thread, from an init
// function. filter puts a seccomp filter on that thread.
func FinishBecoming(filter func(*specs.LinuxSeccomp) error) {
	order := os.Getenv(orderVariable)
	if order == "" {
		return
	}
	err := resume(order, filter)
	report(err)
	os.Exit(exitStatus(err))
}

// resume returns only when the launch has failed.
func resume(order string, filter func(*specs.LinuxSeccomp) error) error {
	fields := strings.Split(order, ":")
	if len(fields) != 4 {
		return fmt.Errorf("read %s: %d fields", orderVariable, len(fields))
	}
	var fds [4]int
	for i, field := range fields {
		fd, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("read %s: %w", orderVariable, err)
		}
		fds[i] = fd
	}
	task, userns, step := fds[0], fds[1], fds[2]
	if userns < 0 && step >= 0 {
		if err := noteNamespace(os.NewFile(uintptr(step), "step")); err != nil {
			return err
		}
	}
	unix.CloseOnExec(task) // and with it the lock goes
	file := os.NewFile(uintptr(task), "task")
	t, err := ReadTask(file)
	if err != nil {
		return err
	}
	defer file.Close()
	t.filter = filter
	return t.launchOrRemove()
}

// report prints the error as every verb does, with a hint where there is one.
func report(err error) {
	fmt.Fprintf(os.Stderr, "ocishim: error: %v\n", err)
	var h hinted
	if errors.As(err, &h) {
		fmt.Fprintf(os.Stderr, "ocishim: hint: %s\n", h.hint)
	}
}

// hinted is an error with something that can be done about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }
