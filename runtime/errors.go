package runtime

import (
	"errors"

	"github.com/ocishim/ocishim/internal/stateroot"
)

// Errors that callers tell apart; they come wrapped with the container's id or
// the path they are about. ErrNotFound and ErrNotRunning are in runc's words: containerd
// and Podman look for these to know that a container they kill has ended by itself.
var (
	ErrInvalidID       = errors.New("invalid container id")
	ErrExists          = errors.New("container already exists")
	ErrNotFound        = errors.New("container does not exist")
	ErrNotCreated      = errors.New("container is not in the created state")
	ErrNotRunning      = errors.New("container not running")
	ErrInPlace         = errors.New("it was launched in place, and has neither a supervisor nor a cgroup of its own")
	ErrNodesMounts     = errors.New("its mounts would be the node's")
	ErrNoCgroup        = errors.New("it has no cgroup of its own")
	ErrPaused          = errors.New("container is paused")
	ErrStillRunning    = errors.New("container is still running")
	ErrStuck           = errors.New("a process of the container cannot be killed")
	ErrBusy            = errors.New("container is being worked on by another process")
	ErrElsewhere       = errors.New("its processes are of a pid namespace that cannot be seen from here")
	ErrUnsafeRoot      = stateroot.ErrUnsafe
	ErrNoRoot          = stateroot.ErrNone
	ErrUnknownSignal   = errors.New("unknown signal")
	ErrCommandNotFound = errors.New("command not found")
	ErrNotExecutable   = errors.New("command cannot be executed")
)
