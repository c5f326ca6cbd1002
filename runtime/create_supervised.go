package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// reportVariable is the variable that gives a background supervisor the descriptor on
// which create waits for its report.
const reportVariable = "_OCISHIM_REPORT"

// outputFile is the file of an entry with the container's output.
const outputFile = "output"

// CreateSupervised makes the container for a Slurm task, under a supervisor in the
// background that takes its output and exit status, and ends it with its step. Slurm reads
// create's stdout and stderr to their end, so the container must hold neither
// (slurmd/slurmstepd/container.c, _create_start).
//
// It is called in two processes. The first one starts this program again with the same
// arguments, and waits. The second one, in which inBackground is true, becomes the
// supervisor, and returns the container's status, with which the process must exit.
func CreateSupervised(s *Store, b *bundle.Bundle, o LaunchOptions) (int, error) {
	if o.PreserveFDs > 0 {
		return 0, errors.New("create container for a Slurm task: Slurm passes no descriptors to create; leave out --preserve-fds, or use run")
	}
	if inBackground() {
		return superviseInBackground(s, b, o), nil
	}
	return 0, startInBackground()
}

// startInBackground starts this program again with the same arguments, and waits until
// that process has created the container.
func startInBackground() error {
	stopIgnoringSignals()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	defer r.Close()
	// What Slurm left open must not stay open in the background.
	if err := utils.CloseExecFrom(3); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), reportVariable+"=3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	report, err := io.ReadAll(r)
	switch {
	case err != nil:
		return fmt.Errorf("read report of supervisor: %w", err)
	case len(report) == 0:
		return errors.New("create container: the supervisor ended before the container was created")
	case string(report) != reportCreated:
		return errors.New(string(report))
	}
	return nil
}

// reportCreated is what a supervisor reports when all is well.
const reportCreated = "created"

// inBackground reports whether this process was started to supervise in the background.
func inBackground() bool { return os.Getenv(reportVariable) != "" }

func superviseInBackground(s *Store, b *bundle.Bundle, o LaunchOptions) int {
	fd, err := strconv.Atoi(os.Getenv(reportVariable))
	if err != nil {
		return 1
	}
	_ = os.Unsetenv(reportVariable) // hooks must not see it
	unix.CloseOnExec(fd)
	report := os.NewFile(uintptr(fd), "report")
	sup := becomeSupervisor()
	defer sup.release()
	if err := sup.createInBackground(s, b, o); err != nil {
		_, _ = report.WriteString(err.Error())
		return 1
	}
	_, _ = report.WriteString(reportCreated)
	_ = report.Close()
	return sup.supervise()
}

// createInBackground is launch with a file for the container's output.
func (sup *supervisor) createInBackground(s *Store, b *bundle.Bundle, o LaunchOptions) error {
	l, err := newLaunch(s, b, o)
	if err != nil {
		return err
	}
	sup.l = l
	l.c.Supervised = true
	defer l.c.entry.Unlock()
	output, err := l.openOutput()
	if err != nil {
		l.abort()
		return err
	}
	defer output.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		l.abort()
		return fmt.Errorf("open input of container: %w", err)
	}
	defer null.Close()
	if err := sup.create(null, output, output); err != nil {
		l.abort()
		return err
	}
	return nil
}

// openOutput opens the file for the container's output, as the user who runs the
// container. It follows no link at the end of the path.
func (l *launch) openOutput() (*os.File, error) {
	path := l.o.Output
	if path == "" {
		path = l.c.entry.File(outputFile)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open output of container: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open output of container: %w", err)
	}
	l.c.Output = path
	return f, nil
}
