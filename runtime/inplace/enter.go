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

// orderVariable tells the constructor in enter.c, and later Go, what to do.
const orderVariable = "_OCISHIM_ENTER"

// ServeVariable makes this program start the server of an image's files; see serve.c.
const ServeVariable = "_OCISHIM_SERVE"

// A Namespace is the user namespace in which a container runs.
type Namespace struct {
	// Join is an open /proc/PID/ns/user, nil to make a new one.
	Join *os.File
	// Mounts is an open /proc/PID/ns/mnt of the container to which the process is added; nil for
	// the first process of a container.
	Mounts *os.File
	// Step is the locked file that records the namespace shared by the tasks of a Slurm step; nil
	// for a single container. The process that makes the namespace records it there. The lock is
	// released then, or when the process ends.
	Step *os.File
	// Trees are mounts, attached nowhere, that the task names by their descriptors: its image, and
	// files that it mounts.
	Trees []*os.File
}

// Become replaces this process by the application of the task in the file. It returns only if it
// fails before it has done anything. Later errors are reported on stderr, and the process exits as
// `run` does.
//
// It executes this program again, or its copy exe: only a process with a single thread can enter a
// user namespace, and Go starts several. Descriptors without close-on-exec stay open at their
// numbers.
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
	for _, f := range append([]*os.File{file}, ns.Trees...) {
		if err := keepOpen(f); err != nil {
			return fmt.Errorf("launch in place: %w", err)
		}
	}
	program := "/proc/self/exe"
	if exe != nil {
		program = "/proc/self/fd/" + strconv.Itoa(int(exe.Fd()))
	}
	err := syscall.Exec(program, os.Args, append(frugal(), order))
	return fmt.Errorf("launch in place: execute %s: %w", program, err)
}

// frugal returns an environment in which Go does little more than it is asked for: scheduling for
// one thread, and no garbage collection, since the process soon becomes another.
func frugal() []string { return []string{"GOMAXPROCS=1", "GOGC=off"} }

// keepOpen keeps the descriptor open across the next exec.
func keepOpen(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	return err
}

// FinishBecoming is the second half of Become, and ends the process if it fails. In any other
// process it does nothing. It must be called on the main thread, from an init function. filter
// installs a seccomp filter on that thread.
func FinishBecoming(filter func(*specs.LinuxSeccomp) error) {
	order := os.Getenv(orderVariable)
	if order == "" {
		return
	}
	err := resume(order, filter)
	report(err)
	os.Exit(exitStatus(err))
}

// resume returns only if the launch has failed.
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
	unix.CloseOnExec(task) // which also releases the lock
	file := os.NewFile(uintptr(task), "task")
	t, err := ReadTask(file)
	if err != nil {
		return err
	}
	defer file.Close()
	if t.Mount > 0 {
		unix.CloseOnExec(t.Mount)
	}
	t.filter = filter
	return t.launchOrRemove()
}

// report prints the error as every verb does, with a hint if there is one.
func report(err error) {
	fmt.Fprintf(os.Stderr, "ocishim: error: %v\n", err)
	var h hinted
	if errors.As(err, &h) {
		fmt.Fprintf(os.Stderr, "ocishim: hint: %s\n", h.hint)
	}
}

// hinted is an error with a hint what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }
