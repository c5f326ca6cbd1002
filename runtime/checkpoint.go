package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
)

// CheckpointOptions are libcontainer's options for criu(8): where the images are, and
// which ties to the outside world a checkpoint may keep.
type CheckpointOptions = libcontainer.CriuOpts

// CheckpointServer is the server that criu sends memory to instead of writing it to a file.
type CheckpointServer = libcontainer.CriuPageServerInfo

var (
	// ErrNoCriu means that criu(8), which does the work, is not installed.
	ErrNoCriu = errors.New("criu is not installed")
	errNoRoot = errors.New("only root can do this: criu needs root")
)

// supervisedFile is a file beside criu's images. It marks a container that lives only as
// long as its supervisor.
const supervisedFile = "ocishim-supervised"

// canCheckpoint returns an error, before anything is done, if criu is missing or the
// caller is not root.
func canCheckpoint() error {
	if _, err := exec.LookPath("criu"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoCriu, err)
	}
	if !IsRoot() { // nor may root of a user namespace
		return errNoRoot
	}
	return nil
}

// Checkpoint writes the container's processes and their memory to files, from which
// LaunchOptions.Restore makes them again. It ends and deletes the container, unless the
// options leave it running.
func (c *Container) Checkpoint(o *CheckpointOptions) error {
	if err := c.checkpoint(o); err != nil {
		return fmt.Errorf("checkpoint container %q: %w", c.ID, err)
	}
	return nil
}

func (c *Container) checkpoint(o *CheckpointOptions) error {
	if err := canCheckpoint(); err != nil {
		return err
	}
	if err := c.lock(); err != nil {
		return err
	}
	defer c.entry.Unlock()
	if status := c.Status(); status != entry.Running && status != entry.Paused {
		return fmt.Errorf("%w: it is %s", entry.ErrNotRunning, status)
	}
	lc, err := c.libcontainer()
	if err != nil {
		return err
	}
	if err := makeImages(o); err != nil {
		return err
	}
	if err := lc.Checkpoint(o); err != nil {
		return criuError(err, o, "dump.log")
	}
	if c.Supervised {
		if err := os.WriteFile(filepath.Join(o.ImagesDirectory, supervisedFile), nil, 0o600); err != nil {
			return err
		}
	}
	if o.LeaveRunning || o.PreDump || c.Supervised {
		return nil // it still runs, or its supervisor cleans up
	}
	if err := c.end(); err != nil {
		return err
	}
	if err := c.dismantle(); err != nil {
		return err
	}
	return c.discard()
}

// makeImages makes the directory for the images. It first checks that the images of an
// earlier dump exist, if the new ones are to refer to them.
func makeImages(o *CheckpointOptions) error {
	if o.ParentImage != "" {
		if _, err := os.ReadDir(filepath.Join(o.ImagesDirectory, o.ParentImage)); err != nil {
			return fmt.Errorf("find images of an earlier dump: %w", err)
		}
	}
	if err := os.MkdirAll(o.ImagesDirectory, 0o700); err != nil {
		return fmt.Errorf("make directory of images: %w", err)
	}
	return nil
}

// criuError adds the errors of criu's log: err itself is only a number.
func criuError(err error, o *CheckpointOptions, log string) error {
	dir := o.WorkDirectory
	if dir == "" {
		dir = o.ImagesDirectory
	}
	path := filepath.Join(dir, log)
	data, rerr := entry.ReadFile(path, maxCriuLog)
	if rerr != nil {
		return err
	}
	var said []string
	for line := range strings.SplitSeq(string(data), "\n") {
		if _, reason, found := strings.Cut(line, "Error ("); found && !strings.Contains(reason, "FAILED") {
			said = append(said, "("+reason)
		}
	}
	said = said[max(0, len(said)-3):]
	return fmt.Errorf("%w; %s says: %s", err, path, strings.Join(said, "; "))
}

// maxCriuLog is how many bytes of criu's log are read at most.
const maxCriuLog = 16 << 20

// checkRestore returns an error, before anything is created, if the checkpoint cannot be
// restored.
func (l *launch) checkRestore() error {
	if l.o.Restore == nil {
		return nil
	}
	images := l.o.Restore.ImagesDirectory
	if err := canCheckpoint(); err != nil {
		return fmt.Errorf("restore container %q: %w", l.b.ID, err)
	}
	if err := unix.Access(filepath.Join(images, "inventory.img"), unix.R_OK); err != nil {
		return fmt.Errorf("restore container %q: no checkpoint in %s: %w", l.b.ID, images, err)
	}
	if _, err := os.Lstat(filepath.Join(images, supervisedFile)); err == nil && !l.c.Supervised {
		// Its processes have a parent-death signal set.
		return fmt.Errorf("restore container %q: the checkpoint is of a container that `run` supervised, so it cannot be detached", l.b.ID)
	}
	return nil
}
