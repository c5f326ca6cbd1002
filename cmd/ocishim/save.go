package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/scratch"
)

// errNoSave says that a container cannot be saved.
var errNoSave = errors.New("the image cannot be saved")

// layerFlag passes the directory of changes from the process that waits and saves to the one that
// becomes the command.
func layerFlag() cli.Flag {
	return &cli.StringFlag{Name: "layer", Usage: "for --save: keep what the command changes in `DIR`"}
}

// A saving is a task whose image is written with its changes when its command has ended. A process
// has to wait for that, so that the command is its child.
type saving struct {
	file    string   // absolute
	dir     string   // where layers are made
	layer   string   // the directory of changes
	image   string   // the digest
	options []string // of ocishim-image
}

// plansToSave returns what has to be done for the wish to save; nil if another task saves, or the
// process is the one that becomes the command.
func plansToSave(c *cli.Context, l *launchArgs) (*saving, error) {
	wish := l.save
	if wish.Value == "" || c.String("layer") != "" {
		return nil, nil
	}
	values := slurm.FromEnv(os.Environ()).Values()
	file, err := slurm.Expand(wish.Value, values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", wish.By, err)
	}
	if rank := os.Getenv("SLURM_PROCID"); file == wish.Value && rank != "" && rank != "0" {
		return nil, nil // tasks would replace each other's file
	}
	if file, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	switch {
	case l.image == nil || l.bundle.Layer == nil:
		return nil, fmt.Errorf("%s: %w: it is not writable here", wish.By, errNoSave)
	case l.bundle.Layer.Dir == "":
		return nil, fmt.Errorf("%s: %w: %s has its changes in memory, which end with the command: use --writable=disk", wish.By, errNoSave, l.bundle.Layer.By)
	}
	if err := unix.Access(filepath.Dir(file), unix.W_OK|unix.X_OK); err != nil {
		return nil, fmt.Errorf("%s: %w: %s: %w", wish.By, errNoSave, filepath.Dir(file), err)
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	if l.bundle.RootMount != nil {
		l.bundle.RootMount.Close() // the command's process has its own
	}
	return &saving{file: file, dir: l.bundle.Layer.Dir, image: string(l.image.Digest), options: imageOptions(cfg, os.Environ())}, nil
}

// run runs the command in a child process, saves the image, and returns the command's status.
func (s *saving) run() (int, error) {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		return 0, err
	}
	if s.layer, err = scratch.Make(s.dir, self); err != nil {
		return 0, err
	}
	defer scratch.Discard(s.layer)
	status, err := s.child()
	if err != nil {
		return 0, err
	}
	program, err := imageProgram()
	if err != nil {
		return 0, err
	}
	args := append(s.options, "save", "--changes", filepath.Join(s.layer, inplace.UpperDir), "--", s.image, s.file)
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%w: %w; the command ended with status %d", errNoSave, err, status)
	}
	return status, nil
}

// child runs this program again with the same arguments and the layer. Signals reach it by themselves:
// Slurm and terminals send them to all processes of a task.
func (s *saving) child() (int, error) {
	cmd := exec.Command("/proc/self/exe", withLayer(os.Args[1:], s.layer)...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	stop := outlive()
	defer stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	state := cmd.ProcessState
	if wait, ok := state.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return 128 + int(wait.Signal()), nil
	}
	return state.ExitCode(), nil
}

// outlive catches the signals that end a process, so that this one is there when the command has
// ended. The command gets them in its own way: a handler is not inherited.
func outlive() (stop func()) {
	caught := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGXCPU} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go func() {
		for range caught {
		}
	}()
	return func() { signal.Stop(caught); close(caught) }
}

// withLayer puts the option for the layer behind the verb.
func withLayer(args []string, layer string) []string {
	var with []string
	for i, arg := range args {
		with = append(with, arg)
		if arg == "run-image" {
			with = append(with, "--layer="+layer)
			return append(with, args[i+1:]...)
		}
	}
	return with
}

// wantsDisk makes a container that is to be saved writable on disk, unless the user has said how.
func wantsDisk(r *request.Request) {
	if r.Save.Value != "" && r.Writable.Value == "" {
		r.Writable = request.Choice{Value: request.WritableDisk, By: r.Save.By}
	}
}
