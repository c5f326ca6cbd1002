package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

// errNoMount says that an image is a file that cannot be mounted here.
var errNoMount = errors.New("the image cannot be mounted")

// mountOrUnpack plans a launch. An image that is a file is mounted. Where that is not possible, or
// the launcher cannot use the mount, it plans again with the image as a directory.
func mountOrUnpack(plan func(tree bool) (*launchArgs, error)) (*launchArgs, error) {
	l, err := plan(false)
	if errors.Is(err, errNoMount) {
		if task, _ := bundle.Getenv(os.Environ(), "SLURM_LOCALID"); task == "" || task == "0" {
			fmt.Fprintf(os.Stderr, "ocishim: warning: %v; a directory is made of it\n", err)
		}
		return plan(true)
	}
	if err != nil || l.bundle.RootMount == nil || runtime.WhyNotInPlace(l.bundle, l.options) == "" {
		return l, err
	}
	l.bundle.RootMount.Close()
	return plan(true)
}

// mountFiles mounts the squashfs files that the container's mounts show. All tasks of a step on this
// host share a file's server.
func (l *launchArgs) mountFiles() error {
	if l.store == nil || runtime.WhyNotInPlace(l.bundle, l.options) != "" {
		return nil // it is to be explained, or refused
	}
	for _, m := range l.bundle.Spec.Mounts {
		if m.Type != bundle.SquashfsType {
			continue
		}
		mount, err := l.mountFile(m.Source)
		if err != nil {
			return fmt.Errorf("mount squashfs file %s at %s: %w", m.Source, m.Destination, err)
		}
		if l.bundle.FileMounts == nil {
			l.bundle.FileMounts = map[string]*os.File{}
		}
		l.bundle.FileMounts[m.Destination] = mount
	}
	return nil
}

// mountFile mounts a squashfs file, as one that has changed since if it has.
func (l *launchArgs) mountFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	program, err := imageProgram()
	if err != nil {
		return nil, err
	}
	identity := fmt.Sprintf("file %d %d %d %d", st.Dev, st.Ino, st.Size, info.ModTime().UnixNano())
	return l.store.MountImage(program, file, path, identity, l.options.SharedBy, l.tasks())
}

// tasks returns how many tasks of the step start on this host, each of which asks for the same mounts;
// 0 if that is not known.
func (l *launchArgs) tasks() int {
	return slurm.FromEnv(os.Environ(), l.bundle.Spec.Process.Env).TasksHere()
}

// mountImage mounts an image that is a file. The mount is attached nowhere: the launch attaches it
// in the container.
func (l *launchArgs) mountImage() error {
	if l.image == nil || l.image.Format != image.Squashfs || l.tree {
		return nil
	}
	if err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); err != nil {
		return fmt.Errorf("%w: /dev/fuse: %w", errNoMount, err)
	}
	program, err := imageProgram()
	if err != nil {
		return err
	}
	step := l.options.SharedBy
	if l.store == nil { // to be explained, not to be launched
		step = ""
	}
	mount, err := l.store.MountImage(program, l.image.Root, l.image.Path, string(l.image.Digest), step, l.tasks())
	if err != nil {
		return fmt.Errorf("%w: %w", errNoMount, err)
	}
	l.bundle.RootMount, l.bundle.Rootfs = mount, l.image.Path
	return nil
}
