// Package deed does what a task does on a host, to see whether it works: it is the part of a doctor that
// acts. Each deed runs in a process of its own, as the user in question, and leaves nothing.
package deed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/stateroot"
)

// Program is the name by which ocishim is executed to do a deed: the first argument is the deed, and
// the others are its own.
const Program = "ocishim-doctor-deed"

// inside begins the names of deeds that run in a user namespace that another one has made.
const inside = "inside-"

// Do does a deed in this process. The error is for people, without the name of the deed.
func Do(name string, args []string) error {
	switch name {
	case "calls":
		return calls()
	case "open":
		return openAll(args)
	case "home":
		return home(args)
	case "state":
		return state()
	case "userns", "fuse", "overlay", "cma":
		return inNamespace(inside+name, args)
	case inside + "userns":
		return mountHere("tmpfs", "tmpfs", "")
	case inside + "fuse":
		return mountFUSE()
	case inside + "overlay":
		return changeOverlay()
	case inside + "cma":
		return readSibling()
	case targetDeed:
		return beRead()
	case readerDeed:
		return readOther(args)
	}
	return fmt.Errorf("unknown deed %q", name)
}

// inNamespace does a deed in a new user namespace, in which the caller's ids keep their numbers, as in
// containers.
func inNamespace(name string, args []string) error {
	cmd := Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
		// A program loses what it may in its namespace when it is executed, unless it is ambient.
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_CHOWN, unix.CAP_MKNOD},
	}
	return Run(cmd)
}

// Command executes this program again, with nothing in its environment.
func Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args, cmd.Env = append([]string{Program, name}, args...), []string{}
	return cmd
}

// Run runs a deed's process. The error is what it has said, or why it did not start.
func Run(cmd *exec.Cmd) error {
	var said strings.Builder
	cmd.Stderr = &said
	err := cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		if lines := strings.Fields(said.String()); len(lines) > 0 {
			return errors.New(strings.Join(lines, " "))
		}
		return err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// calls tries system calls with arguments that are wrong: only a kernel without them says ENOSYS.
func calls() error {
	var missing []string
	for _, c := range []struct {
		name   string
		number uintptr
	}{
		{"pidfd_open (5.3)", unix.SYS_PIDFD_OPEN},
		{"openat2 (5.6)", unix.SYS_OPENAT2},
		{"faccessat2 (5.8)", unix.SYS_FACCESSAT2},
		{"close_range (5.9)", unix.SYS_CLOSE_RANGE},
		{"open_tree (5.2)", unix.SYS_OPEN_TREE},
		{"mount_setattr (5.12)", unix.SYS_MOUNT_SETATTR},
	} {
		const none = ^uintptr(0)
		if _, _, errno := unix.RawSyscall6(c.number, none, 0, none, none, none, none); errno == unix.ENOSYS {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return errors.New(strings.Join(missing, ", "))
	}
	return nil
}

// openAll opens device nodes to read and write.
func openAll(paths []string) error {
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		_ = unix.Close(fd)
	}
	return nil
}

func home(args []string) error {
	if len(args) != 1 {
		return errors.New("no directory")
	}
	dir, err := os.Open(args[0])
	if err != nil {
		return errors.Unwrap(err)
	}
	return dir.Close()
}

// state makes the directory for state as a task does, and removes it if it was not there before.
func state() error {
	places := stateroot.ForSteps(os.Geteuid())
	before, _ := stateroot.Existing(places...)
	made, err := stateroot.Make(places...)
	if err != nil {
		return err
	}
	if !slices.Contains(before, made) {
		_ = os.Remove(made) // only if it is still empty
	}
	return nil
}
